"""Which calls run right now: the leases of the actions. A call of more than a moment holds its own lease."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from redis import Redis

from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text

SHOWN_PER_ACTION: Final = 20


@dataclass(frozen=True, slots=True)
class RunningCall:
    """One (event, action) that a worker has taken."""

    lane: str
    action: str
    source: str
    ordering_key: str
    lease_left_s: float
    """Until others may take it, unless its worker renews the lease; negative if it was abandoned."""


@translating()
def read(redis: Redis, lanes: Mapping[str, Iterable[str]], now: float) -> list[RunningCall]:
    """Read the calls of these lanes' actions, those that were taken first at the front. Raises Unavailable."""
    names = [(lane, action) for lane, actions in lanes.items() for action in actions]
    pipe = redis.pipeline(transaction=False)
    for _, action in names:
        pipe.zrange(keys.action(action, "leased"), 0, SHOWN_PER_ACTION - 1, withscores=True)
    return [
        _call(lane, text(unit), until - now)
        for (lane, _), rows in zip(names, pipe.execute(), strict=True)
        for unit, until in rows
    ]


def _call(lane: str, unit: str, left_s: float) -> RunningCall:
    action, _, rest = unit.partition("|")
    source, _, ordering_key = rest.partition("|")[0].partition(":")
    return RunningCall(lane, action, source, ordering_key, round(left_s, 1))
