"""What is paused: the list, and the banner of every page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from flask import Blueprint, Flask, g, render_template

from deedbox.ops.installation import Installation
from deedbox.shared import pauses
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.routing import DELIVERING, PauseKind
from deedbox.shared.pauses import Pause
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

    return blueprint


def install_banner(app: Flask, installation: Installation) -> None:
    """Let every page know what is paused. Without Redis there is no banner; the page itself says what is wrong."""

    def what_is_paused() -> Sequence[Pause]:
        if g.get("caller") is not None:
            with suppress(DeedboxError):
                return pauses.read(installation.redis)
        return ()

    app.jinja_env.globals["what_is_paused"] = what_is_paused
