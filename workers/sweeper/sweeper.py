"""The sweeper: wakes what is due, in every lane: held events, retries, abandoned leases, forgotten work.

Any number may run: what it does is idempotent. It makes up for every wake-up that a crash swallowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.fields import counts_of
from deedbox.shared.core.identity import SHARDS
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.records.presence import LOST_KEEP
from deedbox.shared.records.stored_event import StoredEvent, present
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage
from deedbox.workers.sweeper.looks import Looks

TICK_S: Final = 0.25
"""The resolution of holds and retries: a person does not notice it, Redis does not either."""

AT_MOST: Final = 100
"""Leases, retries and parked units of one script call: some ms, in which Redis answers no other client."""

CALLS_MAX: Final = 20
"""Script calls of one lane and round. What is left waits for the next round, so that other lanes have their turn."""

LOSSES_MAX: Final = 8
"""Processes that one (event, action) may take down, one after the other, before it is set aside: as many as a failing
action has attempts. Each costs its lane a worker for up to a lease."""

NO_LANE: Final = ""
"""Of actions that no process declares any more: their leases and waits end too, but no doorbell rings."""

OUTAGE_WAIT_S: Final = 1.0

log = logs.get("sweeper")


class Sweeper:
    """Sweeps the lanes that workers have announced."""

    def __init__(
        self,
        scripts: Scripts,
        ring: Callable[[str], None],
        *also: Callable[[], object],
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> None:
        """``also`` is done at the beginning of every round: the looks at keys, for gaps and for what people must know."""
        self._also = also
        self._looks = Looks()
        self._scripts = scripts
        self._ring = ring
        self._retention = retention

    def run(self, stopping: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
        """Sweep until asked to stop; outages of Redis are waited for."""
        outage = Outage(log, "sweeper.waiting")
        while not stopping():
            try:
                self.once()
                outage.ended()
                sleep(TICK_S)
            except Unavailable as error:
                outage.lasts(error=str(error))
                sleep(OUTAGE_WAIT_S)

    def once(self) -> None:
        """Take the other looks, then sweep every lane once. Raises Unavailable if Redis does not answer.

        A look that fails for another reason fails alone: it is logged, and done again after a wait.
        """
        for number, look in enumerate(self._also):
            self._looks.take(f"look {number}", look)
        subscribed = announced(self._scripts.redis)
        lanes = {
            keys.SEQUENCER: (),
            **subscribed.lanes,
            NO_LANE: tuple(subscribed.undeclared(self._depths())),
        }
        for lane, actions in lanes.items():
            self._looks.take(f"lane {lane}", partial(self._sweep, lane, actions))

    def _depths(self) -> dict[str, int]:
        with translating():
            found: Any = self._scripts.redis.hgetall(keys.DEPTHS)
        return counts_of(found)

    def _sweep(self, lane: str, actions: Sequence[str] = ()) -> None:
        for _ in range(CALLS_MAX):
            if not self._sweep_some(lane, actions):
                return

    def _sweep_some(self, lane: str, actions: Sequence[str]) -> bool:
        """Sweep as much as one script call does. Returns whether there may be more."""
        shards = SHARDS if lane == keys.SEQUENCER else 0
        abandoned, due, ring, lost, more = script_calls.sweep(
            self._scripts, lane=lane, shards=shards, at_most=AT_MOST, losses_max=LOSSES_MAX, lost_keep=LOST_KEEP,
            retention=self._retention, actions=actions,
        )  # fmt: skip
        if abandoned:
            log.warning("sweeper.lease_abandoned", lane=lane, units=abandoned)
        for unit, event, process, losses, head in lost:
            stored = StoredEvent.load(text(event), present(head))
            dead = int(losses) >= LOSSES_MAX
            tell = log.error if dead else log.warning
            tell(
                "action.lost",
                lane=lane,
                action=text(unit).partition("|")[0],
                fingerprint=text(event),
                source=stored.source if stored else "",
                key=stored.ordering_key if stored else "",
                trace_id=stored.trace_id if stored else "",
                lost_process=text(process),
                losses_in_a_row=int(losses),
                outcome="dead" if dead else "again",
                **({"reason": str(DeathReason.WORKER_LOST)} if dead else {}),
            )
        if due:
            log.debug("sweeper.retry_due", lane=lane, units=due)
        if ring:
            self._ring(lane)
        return more
