"""What is paused: the list, the banner of every page, and the two writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from flask import Blueprint, Flask, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from deedbox.ops.installation import Installation
from deedbox.ops.repair.pausing import WHY_MAX_CHARS, Pauser, target_of
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.auth.guard import audit, caller, needs
from deedbox.ops.web.auth.tokens import Scope
from deedbox.ops.web.errors import OpsError
from deedbox.ops.wording import pauses_page
from deedbox.shared import pauses
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.routing import DELIVERING
from deedbox.shared.pauses import Pause, PauseKind
from deedbox.shared.records.subscriptions import announced


def create_pause_pages(installation: Installation) -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("pauses", __name__)

    @blueprint.get("/pauses")
    def listing() -> str:
        subscribed = announced(installation.redis)
        return render_template(
            "pauses.html",
            found=pauses.read(installation.redis),
            now=installation.now(),
            names={
                PauseKind.ACTION: [each for each in subscribed.lane_of if not each.startswith(DELIVERING)],
                PauseKind.DESTINATION: [
                    each.removeprefix(DELIVERING)
                    for each in subscribed.lane_of
                    if each.startswith(DELIVERING)
                ],
                PauseKind.LANE: list(subscribed.lanes),
                PauseKind.SOURCE: list(installation.source_names()),
            },
        )

    @blueprint.post("/pauses")
    @needs(Scope.WRITE)
    def act() -> Response:
        said = _act(installation, request.form)
        flash(said, "done")
        return redirect(_back(request.form.get("back", "")), code=303)

    return blueprint


def install_banner(app: Flask, installation: Installation) -> None:
    """Let every page know what is paused. Without Redis there is no banner; the page itself says what is wrong."""

    def what_is_paused() -> Sequence[Pause]:
        if g.get("caller") is not None:
            with suppress(DeedboxError):
                return pauses.read(installation.redis)
        return ()

    app.jinja_env.globals["what_is_paused"] = what_is_paused


def _act(installation: Installation, form: Any) -> str:
    try:
        kind, name = PauseKind(form.get("kind", "")), form.get("name", "").strip()
        do = {"pause": True, "resume": False}[form.get("do", "")]
    except (ValueError, KeyError):
        raise OpsError(
            Refused.BAD_REQUEST, "do is pause or resume; kind is action, destination, lane, source or request"
        ) from None
    pauser = Pauser(installation.scripts)
    try:
        target = target_of(kind, name, form.get("source", "").strip() or "default")
        if do:
            pauser.demand_known(target, installation.source_names())
            plan = pauser.plan(target)
            done = pauser.pause(target, by=caller().name, why=form.get("why", "").strip()[:WHY_MAX_CHARS])
            said = pauses_page.paused(plan) if done else f"It was paused before: {target.told}."
        else:
            done = pauser.resume(target)
            said = f"Resumed: {target.told}." if done else f"It was not paused: {target.told}."
    except Unavailable:
        raise
    except DeedboxError as error:
        raise OpsError(Refused.BAD_REQUEST, str(error)) from None
    audit("pause" if do else "resume", int(done), target=target.field)
    return said.replace("`", "")


def _back(path: str) -> str:
    """Return to a page of the requests, or to the list."""
    return path if path.startswith("/requests/") and "\\" not in path else url_for("pauses.listing")
