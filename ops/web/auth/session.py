"""Signing in and out with a token, for browsers."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from deedbox.ops.web.auth.guard import Guard, public, signed_out
from deedbox.ops.web.errors import STATUS, OpsError


def create_session(guard: Guard, hint: str | None) -> Blueprint:
    """Return the routes. ``hint`` tells where the token is, if it was generated."""
    blueprint = Blueprint("session", __name__)

    @blueprint.get("/login")
    @public
    def login() -> str:
        return render_template(
            "login.html", hint=_hint(hint), next=_own_path(request.args.get("next")), trouble=None
        )

    @blueprint.post("/login")
    @public
    def sign_in() -> Response | tuple[str, int]:
        target = _own_path(request.form.get("next"))
        try:
            guard.sign_in(request.form.get("token", ""))
        except OpsError as error:
            page = render_template("login.html", hint=_hint(hint), next=target, trouble=error.detail)
            return page, int(STATUS[error.reason])
        return redirect(target)

    @blueprint.post("/logout")
    @public
    def logout() -> Response:
        signed_out()
        return redirect(url_for("session.login"))

    return blueprint


def _hint(hint: str | None) -> str | None:
    """Return the hint for a caller who may read without a token: to others a path of this machine says too much."""
    return hint if g.get("caller") is not None else None


def _own_path(target: str | None) -> str:
    """Return a path of this site: a link must not lead a person who signs in to somebody else's page."""
    parts = urlsplit(target or "/")
    own = not parts.scheme and not parts.netloc and parts.path.startswith("/") and "\\" not in (target or "")
    return (target or "/") if own and not parts.path.startswith("//") else "/"
