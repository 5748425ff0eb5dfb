"""The read model of a signature request in Redis: read, changed and written without losing another's change.

Two actions write it: ``track_status`` from events, ``reconcile`` from what the API shows. Each may run while the
other does, so that the write succeeds only if nobody wrote since the read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis
from redis.client import Pipeline

from shared import keys

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def change(redis: Redis, stream: str, how: Change) -> Mapping[str, Any]:
    """Change a stream's read model. ``how`` may be called again. Returns the model as written. Raises RedisError."""
    key = keys.request(stream)
    written: list[Mapping[str, Any]] = []

    def attempt(pipe: Pipeline) -> None:
        before: Any = pipe.get(key)
        written[:] = [how(json.loads(before) if before else {})]
        pipe.multi()
        pipe.set(key, json.dumps(written[0], separators=(",", ":")), ex=keys.ORDER_TTL_S)

    redis.transaction(attempt, key)
    return written[0]
