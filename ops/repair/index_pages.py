"""A sorted set read by score, page by page: no reply is long, and nothing is missed that moves meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from redis import Redis

from deedbox.shared.redis.scripting import text

PAGE: Final = 500


def oldest_first(redis: Redis, index: str, since: float = -math.inf) -> Iterator[list[str]]:
    """Yield pages of members from a score on. One whose score grows meanwhile comes again. Raises RedisError."""
    return _pages(
        lambda edge, count: redis.zrangebyscore(index, edge, math.inf, 0, count, withscores=True), since
    )


def newest_first(
    redis: Redis, index: str, until: float = math.inf, since: float = -math.inf
) -> Iterator[list[str]]:
    """Yield pages of members from the greatest score down. Raises RedisError."""
    return _pages(
        lambda edge, count: redis.zrevrangebyscore(index, edge, since, 0, count, withscores=True), until
    )


def _pages(read: Any, edge: float) -> Iterator[list[str]]:
    # A page begins again with the last score of the one before it: several members may have it.
    known: set[bytes] = set()
    while True:
        count = PAGE + len(known)
        rows: list[tuple[bytes, float]] = read(edge, count)
        fresh = [text(member) for member, _ in rows if member not in known]
        if fresh:
            yield fresh
        if len(rows) < count:
            return
        edge = rows[-1][1]
        known = {member for member, score in rows if score == edge}
