"""What an order state held that cannot be read any more, found again in the dedupe memory and the index of holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.records.stored_event import HEAD, StoredEvent, present
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text
from deedbox.workers.sequencer.arrivals import SetAside

LOOK_AT_MOST: Final = 5_000
"""Latest facts of the stream. A hold lasts minutes, so that a held event is among the latest."""


def stranded(redis: Redis, stream: str) -> list[SetAside]:
    """Find the events of a stream that are held by nothing readable. Raises Unavailable."""
    try:
        rows: Any = redis.zrange(keys.seen(stream), 0, LOOK_AT_MOST - 1, desc=True, withscores=True)
        if not rows:
            return []
        scores = redis.zmscore(keys.HELD, [name for name, _ in rows])
        held = [
            (text(name), float(at))
            for (name, at), score in zip(rows, scores, strict=True)
            if score is not None
        ]
        pipe = redis.pipeline(transaction=False)
        for name, _ in held:
            pipe.hmget(keys.event(name), HEAD)
        heads = pipe.execute()
    except RedisError as error:
        raise translated(error) from error
    return [_aside(name, at, head) for (name, at), head in zip(held, heads, strict=True)]


def _aside(fingerprint: str, arrived_at: float, head: Iterable[bytes | None]) -> SetAside:
    stored = StoredEvent.load(fingerprint, present(head))
    return SetAside.of(stored) if stored else SetAside(fingerprint, arrived_at)
