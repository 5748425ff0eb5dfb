"""What the hosts said of their spools, and how one that is gone for good is forgotten."""

from __future__ import annotations

from typing import cast

from redis import Redis

from deedbox.shared.records.spool_mark import SpoolMarks
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating


@translating()
def read(redis: Redis) -> tuple[SpoolMarks, float]:
    """Return the marks and the time, by Redis's clock. Raises Unavailable."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.hgetall(keys.SPOOLS)
    (seconds, microseconds), stored = pipe.execute()
    now = seconds + microseconds / 1_000_000
    return SpoolMarks.of(cast("dict[bytes, bytes]", stored), now), now


@translating()
def forget(redis: Redis, host: str) -> tuple[int, int]:
    """Remove the marks of a silent host, named as people name it or by the id of its spool. Raises Unavailable.

    Returns how many marks were removed, and how many are those of a living host: it would write them again.
    """
    marks, _ = read(redis)
    gone = [name for name, mark in marks.silent.items() if host in {name, mark.host}]
    gone += [name for name in marks.unreadable if host == name]
    living = sum(host in {name, mark.host} for name, mark in marks.live.items())
    if gone:
        redis.hdel(keys.SPOOLS, *gone)
    return len(gone), living
