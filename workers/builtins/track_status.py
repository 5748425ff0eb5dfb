"""Built-in action ``track_status``: keeps the read model of every signature request."""

from __future__ import annotations

from deedbox.shared.core.request_snapshot import request_of
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import advance
from deedbox.workers.actions.interface import ActionFunction, Context, Event, change_model, model_of
from deedbox.workers.actions.registry import RegisteredAction

NAME = "track_status"
PATTERNS = ("signature_request_*", "file_error", "unknown_error", "sign_url_invalid")


def track(event: Event, context: Context) -> None:
    """Advance the request's read model by one event. It is kept with the call's outcome, and so is the index of the search.

    The merge is monotone within a level of trust: late and repeated events are safe, and a better body of an event that it
    had before comes once more.
    """
    if event.signature_request_id is None:
        return
    advanced = advance(model_of(context), event.type, event.time, event.payload, Trust.named(event.trust))
    model = {**advanced, "signature_request_id": event.signature_request_id}
    change_model(context, model, request_of(event.payload))


def registered(function: ActionFunction = track) -> RegisteredAction:
    """Return the action for the registry."""
    return RegisteredAction(NAME, PATTERNS, function, keeps_model=True)
