"""The live tail: the newest events of the clean stream; the page's script follows ``/api/events`` from there on."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, render_template, request

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import events
from deedbox.ops.readmodels.events import EventFilter
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.errors import OpsError
from deedbox.shared.core.routing import KNOWN_TYPES, is_pattern

SHOWN: Final = 100
"""Events on the page; the script keeps as many."""


def create_event_pages(installation: Installation) -> Blueprint:
    """Return the route."""
    blueprint = Blueprint("events", __name__)

    @blueprint.get("/events")
    def page() -> str:
        wanted_type, source = (request.args.get(name, "").strip() for name in ("type", "source"))
        sources = tuple(installation.source_names())
        wanted_type = "" if wanted_type == "*" else wanted_type
        if wanted_type and not is_pattern(wanted_type):
            raise OpsError(
                Refused.BAD_REQUEST, "type is an exact event type, or a prefix such as signature_request_*"
            )
        if source and source not in sources:
            raise OpsError(Refused.BAD_REQUEST, "source is none that there is; choose it in the form")
        wanted = EventFilter(SHOWN, (wanted_type,) if wanted_type else (), (source,) if source else ())
        kept = installation.settings.events_keep
        found = events.latest(installation.redis, wanted)
        return render_template(
            "events.html", found=events.with_heads(installation.redis, found), wanted_type=wanted_type, source=source,
            sources=sources, types=sorted(KNOWN_TYPES), kept=kept, shown=SHOWN,
        )  # fmt: skip

    return blueprint
