"""Stand-ins for ``time`` and ``threading`` inside the code under test: the scheduler's clock, tasks and locks."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from math import inf
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import structlog

import deedbox.shared.broker.redis_consumer
import deedbox.workers.bridge.bridge
import deedbox.workers.lanes.batch
import deedbox.workers.lanes.bystander
import deedbox.workers.lanes.calls
import deedbox.workers.lanes.runner
import deedbox.workers.pacing
import deedbox.workers.sweeper.sweeper
from deedbox.shared.core import identity
from deedbox.workers.lanes.ledger import ClaimLedger
from deedbox.workers.lanes.time_limit import ActionTimeout
from deedbox.workers.lanes.watchdog import KEPT_MAX_S, CallGuard
from tests.simulation.scheduler import Process, Scheduler

MOMENT_S: Final = 0.4
"""After which the attendant calls an action slow: the same, only less often looked at."""

SHARDS: Final = 3
"""Fewer than in production: a sweep costs less, and streams meet in a shard more often."""

BRIDGE_WAIT_S: Final = 4
"""Longer than in production: an idle bridge that looks around less often costs fewer steps, and breaks no law."""


class Lock:
    """A lock: tasks that wait for it are not runnable."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held = False

    def __enter__(self) -> None:
        while self._held:
            self._scheduler.pause(inf, lambda: not self._held)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


class Condition(Lock):
    """A condition variable without spurious wake-ups."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._waiting: deque[list[bool]] = deque()

    def wait(self) -> None:
        notified = [False]
        self._waiting.append(notified)
        self._held = False
        self._scheduler.pause(inf, lambda: notified[0])
        self.__enter__()

    def notify(self) -> None:
        if self._waiting:
            self._waiting.popleft()[0] = True


class Thread:
    """A thread of the process that starts it: it dies with it."""

    def __init__(self, scheduler: Scheduler, target: Callable[[], object], name: str) -> None:
        self._scheduler = scheduler
        self._target = target
        self._name = name

    def start(self) -> None:
        process = self._scheduler.current.process
        self._scheduler.spawn(process, f"{process.name}/{self._name}", self._target)


class SimulatedGuard(CallGuard):
    """Ends a simulated process instead of this one."""

    def __init__(self, end: Callable[[], object]) -> None:
        super().__init__()
        self._end = end

    def end(self) -> None:
        self._end()


class Limits:
    """Time limits of calls on the simulated clock: a call notices when it lets time pass."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._ends: dict[object, float] = {}
        self.end: Callable[[Process], None] = scheduler.kill
        """Ends a process for good; another one follows."""

    @contextmanager
    def limit(self, timeout_s: float) -> Iterator[None]:
        task = self._scheduler.current
        self._ends[task] = self._scheduler.now + timeout_s
        try:
            yield
        finally:
            del self._ends[task]

    def spend(self, seconds: float) -> None:
        """Let a call take that long. Raises ActionTimeout at its limit, and Crashed."""
        scheduler = self._scheduler
        end = self._ends[scheduler.current]
        until = scheduler.now + seconds
        scheduler.pause(min(until, end))
        if scheduler.now >= end:
            raise ActionTimeout(0.0)

    def hang(self) -> None:
        """Let a call never return, whatever its limit does."""
        self._scheduler.pause(inf)

    def keep_the_interpreter(self, seconds: float) -> None:
        """Let no other task of the process run for so long. Longer than a watchdog bears it: the process ends."""
        scheduler = self._scheduler
        process = scheduler.current.process
        process.stalled_until = round(scheduler.now + seconds, 6)
        if seconds > KEPT_MAX_S:
            scheduler.at(scheduler.now + KEPT_MAX_S, lambda: self._bite(process))
        scheduler.pause(process.stalled_until)

    def _bite(self, process: Process) -> None:
        if process.alive:
            self.end(process)


@contextmanager
def installed(scheduler: Scheduler, limits: Limits) -> Iterator[None]:
    """Give the code under test the simulated clock, tasks and locks, and silence its log."""
    clock = SimpleNamespace(
        monotonic=lambda: scheduler.now, time=lambda: scheduler.now, sleep=scheduler.sleep
    )
    tasks = SimpleNamespace(
        Lock=lambda: Lock(scheduler),
        Condition=lambda: Condition(scheduler),
        Thread=lambda target, name, daemon: Thread(scheduler, target, name) if daemon else None,
    )
    real_batch = deedbox.workers.lanes.batch.LaneBatch

    def batch(claims: Any, ledger: ClaimLedger, begin_until: float) -> deedbox.workers.lanes.batch.LaneBatch:
        return real_batch(claims, ledger, begin_until, clock.monotonic)

    with ExitStack() as stack, _silence():
        for module, name, double in (
            (deedbox.workers.bridge.bridge, "time", clock),
            (deedbox.workers.bridge.bridge, "WAIT_S", BRIDGE_WAIT_S),
            (deedbox.shared.broker.redis_consumer, "time", clock),
            (deedbox.shared.broker.redis_consumer, "WAIT_S", BRIDGE_WAIT_S),
            (identity, "SHARDS", SHARDS),
            (deedbox.workers.sweeper.sweeper, "SHARDS", SHARDS),
            (deedbox.workers.lanes.batch, "MOMENT_S", MOMENT_S),
            (deedbox.workers.lanes.batch, "time", clock),
            (deedbox.workers.pacing, "time", clock),
            (deedbox.workers.lanes.batch, "threading", tasks),
            (deedbox.workers.lanes.bystander, "time", clock),
            (deedbox.workers.lanes.runner, "time", clock),
            (deedbox.workers.lanes.runner, "threading", tasks),
            (deedbox.workers.lanes.calls, "time", clock),
            (deedbox.workers.lanes.calls, "time_limit", limits.limit),
            (deedbox.workers.lanes.calls, "standing", lambda *_: None),
            (deedbox.workers.lanes.runner, "time_limits", nullcontext),
            (deedbox.workers.lanes.runner, "LaneBatch", batch),
        ):
            stack.enter_context(patch.object(module, name, double))
        yield


@contextmanager
def _silence() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
