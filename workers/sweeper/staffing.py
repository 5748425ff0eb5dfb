"""Which lanes have work that no living process will do, and which calls no process declares: what alerts tell of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.core.fields import counts_of
from deedbox.shared.records import presence
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated

PATIENCE_S: Final = 60.0
"""A restart or a deployment leaves a lane without a worker for shorter than this."""


class Missing(NamedTuple):
    """Work that no process will do."""

    lanes: tuple[str, ...]
    actions: tuple[str, ...]


class Staffing:
    """Remembers, in one sweeper, since when something has been missing."""

    def __init__(self, redis: Redis, clock: Callable[[], float]) -> None:
        self._redis: Any = redis
        self._clock = clock
        self._since: dict[str, float] = {}

    def missing(self) -> Missing:
        """Return what has been missing for long enough to tell. Raises Unavailable."""
        subscribed = announced(self._redis)
        depths, staffed = self._read()
        waiting = {
            lane: sum(depths.get(name, 0) for name in names) for lane, names in subscribed.lanes.items()
        }
        lanes = [lane for lane, depth in waiting.items() if depth and lane not in staffed]
        return Missing(self._long(lanes, "lane "), self._long(subscribed.undeclared(depths), "action "))

    def _read(self) -> tuple[Mapping[str, int], set[str]]:
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.DEPTHS)
                pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
                pipe.hgetall(keys.WORKERS_DOING)
                pipe.time()
                depths, ends, doing, (now, _) = pipe.execute()
        except RedisError as error:
            raise translated(error) from error
        said = (presence.load(doing.get(name, b"")) for name, end in ends if end > now)
        return counts_of(depths), {each.lane for each in said if each}

    def _long(self, names: Any, kind: str) -> tuple[str, ...]:
        now, here = self._clock(), {kind + name for name in names}
        self._since = {
            name: since for name, since in self._since.items() if name in here or not name.startswith(kind)
        }
        for name in here:
            self._since.setdefault(name, now)
        return tuple(name for name in names if now >= self._since[kind + name] + PATIENCE_S)
