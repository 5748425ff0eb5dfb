"""The sweeper's look at the types of keys: one that holds another type than ours makes every command on it fail.

No version of Deedbox writes such a key; another program does, or a person. It is moved away, where a person can look at it,
and what needs it starts anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared.core.identity import SHARDS
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.key_types import FIXED, type_of
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.shared.runtime import logs

LOOK_EVERY_S: Final = 5.0

PIECE: Final = 500
"""Keys of one round trip."""

_ACTION_PARTS: Final = ("ready", "leased", "tokens", "waiting")

log = logs.get("sweeper")


class ForeignKeys:
    """Looks at the keys that everything needs; at all of them after a command met a wrong one."""

    def __init__(self, scripts: Scripts, clock: Callable[[], float] = time.monotonic) -> None:
        self._scripts = scripts
        self._redis: Any = scripts.redis
        self._clock = clock
        self._looked_at = float("-inf")

    def once(self) -> None:
        """Look, if it is time to. Raises Unavailable."""
        if self._clock() >= self._looked_at + LOOK_EVERY_S:
            self._looked_at = self._clock()
            self.look()

    def look(self) -> None:
        """Look now. Raises Unavailable."""
        try:
            # First: without these, what follows fails.
            self._look_at(FIXED)
            self._look_at(self._needed())
            if self._redis.getdel(keys.FOREIGN_SUSPECTED):
                self._look_at(map(text, self._redis.scan_iter(keys.PREFIX + "*", count=PIECE)))
        except RedisError as error:
            raise translated(error) from error

    def _needed(self) -> Iterable[str]:
        subscribed = announced(self._redis)
        for shard in range(SHARDS):
            yield keys.inbox(shard)
            yield f"{keys.PREFIX}wake:{shard}"
        for lane in (keys.SEQUENCER, *subscribed.lanes):
            yield keys.lane(lane, "idle")
            yield keys.lane(lane, "bell")
        for action in subscribed.lane_of:
            for part in _ACTION_PARTS:
                yield keys.action(action, part)

    def _look_at(self, names: Iterable[str]) -> None:
        left = iter(names)
        while piece := list(islice(left, PIECE)):
            with self._redis.pipeline(transaction=False) as pipe:
                for name in piece:
                    pipe.type(name)
                found = zip(piece, pipe.execute(), strict=True)
            wrong = {
                name: ours
                for name, kind in found
                if (ours := type_of(name)) and text(kind) not in {ours, "none"}
            }
            for moved in script_calls.set_aside(self._scripts, wrong) if wrong else ():
                log.error("key.foreign", key=moved, expected=wrong[moved])
