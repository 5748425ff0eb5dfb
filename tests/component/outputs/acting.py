"""Actions of an application that puts what it was given into everything that people will read."""

from __future__ import annotations

import logging
from typing import Any

from deedbox.workers.actions.interface import Context, Event, Reject, Retry, action

_log = logging.getLogger(__name__)


def _text(event: Event) -> str:
    request: Any = event.payload.get("signature_request")
    return str(request.get("title")) if isinstance(request, dict) else str(request)


@action("signature_request_viewed", attempts=1)
def rejects(event: Event, context: Context) -> None:
    """Write a note, emit an event, and reject."""
    context.note(_text(event))
    context.emit("deedbox.tried", {"text": _text(event)})
    raise Reject(_text(event))


@action("signature_request_sent", attempts=1)
def fails(event: Event, _context: Context) -> None:
    """Fail with the text."""
    raise ValueError(_text(event))


@action("signature_request_declined")
def waits(event: Event, _context: Context) -> None:
    """Log the text and ask to be called later."""
    _log.warning("declined: %s", _text(event))
    raise Retry(_text(event))


@action("deedbox.tried")
def notes(event: Event, context: Context) -> None:
    """Write a note."""
    context.note(str(event.payload.get("text")))
