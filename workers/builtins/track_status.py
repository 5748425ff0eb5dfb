"""Built-in action ``track_status``: keeps the read model of every signature request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.request_snapshot import request_of
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import advance
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Retry
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.builtins import read_model

NAME = "track_status"
PATTERNS = ("signature_request_*", "file_error", "unknown_error", "sign_url_invalid")


class TrackStatus:
    """Merges each event into ``request:<stream>``, and notes the stream in the index of the dashboard's search.

    The merge is monotone within a level of trust: late and repeated events are safe, and a better body of an event that it
    had before comes once more.
    """

    def __init__(self, scripts: Scripts, retention: Retention = Retention()) -> None:  # noqa: B008 - frozen
        self._scripts = scripts
        self._redis = scripts.redis
        self._retention = retention

    def __call__(self, event: Event, _context: Context) -> None:
        """Advance the request's read model by one event."""
        if event.signature_request_id is None:
            return
        request_id = event.signature_request_id

        def one_event_on(model: Mapping[str, Any]) -> dict[str, Any]:
            advanced = advance(model, event.type, event.time, event.payload, Trust.named(event.trust))
            return {**advanced, "signature_request_id": request_id}

        try:
            stream = f"{event.source}:{event.ordering_key}"
            read_model.change(self._scripts, stream, one_event_on, self._retention, request_of(event.payload))
        except (RedisError, Unavailable) as error:
            raise Retry(f"Redis did not answer ({type(error).__name__})") from error


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry."""
    return RegisteredAction(NAME, PATTERNS, function)
