"""Built-in action ``track_status``: keeps the read model of every signature request."""

from __future__ import annotations

import json

from redis import Redis
from redis.exceptions import RedisError

from shared import keys
from shared.core.status import advance
from workers.actions.interface import ActionFunction, Context, Event, Retry
from workers.actions.registry import RegisteredAction

NAME = "track_status"
PATTERNS = ("signature_request_*", "file_error", "unknown_error", "sign_url_invalid")


class TrackStatus:
    """Merges each event into ``request:<stream>``, and notes the stream in the index of the dashboard's search.

    The merge is monotone: late and repeated events are safe.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def __call__(self, event: Event, _context: Context) -> None:
        """Advance the request's read model by one event."""
        if event.signature_request_id is None:
            return
        stream = f"{event.source}:{event.ordering_key}"
        key = keys.request(stream)
        try:
            before = self._redis.get(key)
            model = advance(json.loads(before) if before else {}, event.type, event.time, event.payload)
            model["signature_request_id"] = event.signature_request_id
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(key, json.dumps(model, separators=(",", ":")), ex=keys.ORDER_TTL_S)
            pipe.zadd(keys.REQUESTS, {stream: model["updated_at"]})
            pipe.zremrangebyrank(keys.REQUESTS, 0, -keys.REQUESTS_KEEP - 1)
            pipe.execute()
        except RedisError as error:
            raise Retry(f"Redis did not answer ({type(error).__name__})") from error


def registered(function: ActionFunction) -> RegisteredAction:
    """Return the action for the registry."""
    return RegisteredAction(NAME, PATTERNS, function)
