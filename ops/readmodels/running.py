"""Which calls run right now: the leases of the lanes. A call of more than a moment holds a lease."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text

SHOWN_PER_LANE: Final = 20


@dataclass(frozen=True, slots=True)
class Call:
    """One (event, action) that a worker has taken."""

    lane: str
    action: str
    source: str
    ordering_key: str
    lease_left_s: float
    """Until others may take it, unless its worker renews the lease; negative if it was abandoned."""


def read(redis: Redis, lanes: Iterable[str], now: float) -> list[Call]:
    """Read the calls of these lanes, those that were taken first at the front. Raises Unavailable."""
    names = [name for name in lanes if name != keys.SEQUENCER]  # it calls no action
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.zrange(keys.lane(name, "leased"), 0, SHOWN_PER_LANE - 1, withscores=True)
    try:
        replies = pipe.execute()
    except RedisError as error:
        raise translated(error) from error
    return [
        _call(name, text(unit), until - now)
        for name, rows in zip(names, replies, strict=True)
        for unit, until in rows
    ]


def _call(lane: str, unit: str, left_s: float) -> Call:
    action, _, rest = unit.partition("|")
    source, _, ordering_key = rest.partition("|")[0].partition(":")
    return Call(lane, action, source, ordering_key, round(left_s, 1))
