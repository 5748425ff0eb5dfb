"""The sweeper's look at the types of keys: one that holds another type than ours makes every command on it fail.

No version of Deedbox writes such a key; another program does, or a person. It is moved away, where a person can look at it,
and what needs it starts anew.

No error of Redis names the key. So this is the one place that walks through all keys: some thousand per round of the sweeper,
and only after a command met a wrong key. The index of streams, if it was lost, is made anew on the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from redis.exceptions import WatchError

from deedbox.shared.core.identity import SHARDS
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.key_types import FIXED, suspect, type_of
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.shared.runtime import logs

LOOK_EVERY_S: Final = 5.0

PIECE: Final = 500
"""Keys of one round trip."""

PIECES: Final = 10
"""Round trips of one look through all keys; the next round of the sweeper goes on behind them."""

_OF_STREAMS: Final = (keys.seen(""), keys.archive(""), keys.data_key(""))

_ACTION_PARTS: Final = ("ready", "leased", "tokens", "waiting")

log = logs.get("sweeper")


class ForeignKeys:
    """Looks at the keys that everything needs; at all of them after a command met a wrong one."""

    def __init__(self, scripts: Scripts, clock: Callable[[], float] = time.monotonic) -> None:
        self._scripts = scripts
        self._redis: Any = scripts.redis
        self._clock = clock
        self._looked_at = float("-inf")
        self._suspected: bytes | None = None
        """The suspicion that the walk began with; None: no walk is under way."""
        self._cursor = 0

    def once(self) -> None:
        """Look, if it is time to. Raises Unavailable."""
        if self._suspected is not None or self._clock() >= self._looked_at + LOOK_EVERY_S:
            self._looked_at = self._clock()
            self.look()

    def look(self) -> None:
        """Look now. Raises Unavailable."""
        with translating():
            # First: without these, what follows fails.
            self._look_at(FIXED)
            self._look_at(self._needed())
            self._walk_on()

    def _walk_on(self) -> None:
        """Look at some more of all keys, if a wrong one is suspected. The mark stays until the walk is over."""
        mark = self._redis.get(keys.FOREIGN_SUSPECTED)
        if mark is None:
            self._suspected = None
            return
        if self._suspected is None:
            self._suspected, self._cursor = mark, 0
        for _ in range(PIECES):
            self._cursor, found = self._redis.scan(self._cursor, match=keys.PREFIX + "*", count=PIECE)
            names = [text(name) for name in found]
            self._look_at(names)
            streams = [
                name.removeprefix(kind) for kind in _OF_STREAMS for name in names if name.startswith(kind)
            ]
            if streams:
                script_calls.note_streams(self._scripts, streams)
            if self._cursor == 0:
                self._end_walk()
                return

    def _end_walk(self) -> None:
        # What was suspected meanwhile gets another walk.
        with self._redis.pipeline() as pipe, suppress(WatchError):
            pipe.watch(keys.FOREIGN_SUSPECTED)
            if pipe.get(keys.FOREIGN_SUSPECTED) == self._suspected:
                pipe.multi()
                pipe.delete(keys.FOREIGN_SUSPECTED)
                pipe.execute()
        self._suspected = None

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
            if keys.STREAMS in wrong:
                suspect(self._redis)  # first: the walk makes the index anew
            for moved in script_calls.set_aside(self._scripts, wrong) if wrong else ():
                log.error("key.foreign", key=moved, expected=wrong[moved])
