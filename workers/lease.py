"""A lease of a lane: one RQ job that drains for about two seconds, then hands over.

An RQ job costs milliseconds, an event microseconds: so a job is no event but the right to drain. While there
is nothing to do the lease blocks on the lane's bell, so that work which comes soon starts at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts

LEASE_S: Final = 10.0
"""Life of a unit's lease without renewal: the longest that a crash delays its unit, less the sweep."""

DRAIN_S: Final = 2.0
"""Length of one RQ job: long against the cost of a job (3 to 6 ms), short against anyone's patience for a stop."""

LINGER_S: Final = 2.0
"""Longest wait on the bell inside one RQ job."""


class LeaseReport(NamedTuple):
    """What a drain found."""

    units: int
    """Worked off."""
    idle: bool
    """Nothing was ready at its last look, and the drainer is known to wait for the bell."""


Drain = Callable[[str, Callable[[], bool]], LeaseReport]
"""Works off for a drainer what is ready, while the second operand says to go on; at least one look."""


class Lease:
    """Drains one lane for a while."""

    def __init__(
        self,
        lane: str,
        drain: Drain,
        scripts: Scripts,
        ring: Callable[[str], None],
        stopping: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
        actions: Sequence[str] = (),
    ) -> None:
        """``actions``: what is worked off in the lane; nothing for the sequencer."""
        self._lane = lane
        self._drain = drain
        self._scripts = scripts
        self._ring = ring
        self._stopping = stopping
        self._monotonic = monotonic
        self._actions = actions

    def run(self, drainer: str) -> int:
        """Drain until the time is over or nothing came for a while. Returns the units worked off."""
        end = self._monotonic() + DRAIN_S
        units = 0

        def go_on() -> bool:
            return not self._stopping() and self._monotonic() < end

        while not self._stopping():
            drained = self._drain(drainer, go_on)
            units += drained.units
            left = end - self._monotonic()
            if left <= 0:
                break
            if drained.idle and not self._heard_bell(min(left, LINGER_S)):
                break
        if script_calls.leave(self._scripts, lane=self._lane, drainer=drainer, actions=self._actions):
            self._ring(self._lane)
        return units

    def _heard_bell(self, wait_s: float) -> bool:
        with translating():
            return (
                self._scripts.redis.blpop([keys.lane(self._lane, "bell")], timeout=max(0.05, wait_s))
                is not None
            )
