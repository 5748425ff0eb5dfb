"""Signing in and out, for browsers: with a token, or with a link that was made on the machine of ops."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import Guard, public, signed_out
from deedbox.ops.web.errors import STATUS, OpsError


def create_session(guard: Guard) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("session", __name__)

    @blueprint.get("/login")
    @public
    def login() -> str:
        return render_template("login.html", next=own_path(request.args.get("next")), trouble=None)

    @blueprint.post("/login")
    @public
    def sign_in() -> Response | tuple[str, int]:
        target = own_path(request.form.get("next"))
        try:
            guard.sign_in(request.form.get("token", ""))
        except OpsError as error:
            page = render_template("login.html", next=target, trouble=error.detail)
            return page, int(STATUS[error.reason])
        return redirect(target)

    @blueprint.get("/sign-in")
    @public
    def by_link() -> Response | tuple[str, int]:
        # In the query, because a path may be logged; and a redirect, so that it is not in the address bar either.
        if guard.redeem(request.args.get("link", "")):
            return redirect(url_for("pages.overview_page"))
        trouble = "this link was used, or is older than ten minutes; `deedbox sign-in` prints another one"
        return render_template("login.html", next="/", trouble=trouble), int(STATUS[Refused.WRONG_TOKEN])

    @blueprint.post("/logout")
    @public
    def logout() -> Response:
        signed_out()
        return redirect(url_for("session.login"))

    return blueprint


def own_path(target: str | None) -> str:
    """Return a path of this site: a link must not lead a person who signs in to somebody else's page.

    It is put together anew from its parts, with one slash in front: nothing is left that could name another host.
    """
    parts = urlsplit(target or "/")
    if parts.scheme or parts.netloc or not parts.path.startswith("/"):
        return "/"
    path = "/" + quote(parts.path.lstrip("/\\"), safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{parts.query}" if parts.query else path
