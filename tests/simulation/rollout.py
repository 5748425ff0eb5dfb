"""A deployment that rolls: processes of two versions live side by side, and may start in any order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from deedbox.workers.actions.registry import Registry
from tests.simulation.scheduler import Process, Scheduler

ROLLING_S: Final = 6.0
"""How long a deployment takes: so long processes of both versions live, and may start."""

STALE: Final = 0.3
"""Share of processes that start meanwhile with the version of before."""


class Rollout:
    """Which version of the actions a process has. ``kinds``: of processes that have actions."""

    def __init__(self, scheduler: Scheduler, registries: Sequence[Registry], kinds: Collection[str]) -> None:
        self._scheduler = scheduler
        self._registries = registries
        self._kinds = kinds
        self._version = 0
        self._version_of: dict[Process, int] = {}
        self._old_until = 0.0

    def registry(self, process: Process) -> Registry:
        """Return the actions of a process that starts now: while a deployment rolls, some still have the old ones."""
        version = self._version
        if self._scheduler.now < self._old_until and self._scheduler.rng.random() < STALE:
            version = 1 - version
        self._version_of[process] = version
        return self._registries[version]

    def begin(self) -> None:
        """Deploy the other version: every process that has actions is asked to stop, one after the other."""
        self._version = 1 - self._version
        self._old_until = self._scheduler.now + ROLLING_S
        for process in self._scheduler.live:
            if process.kind in self._kinds:
                at = self._scheduler.now + self._scheduler.rng.random() * ROLLING_S
                self._scheduler.at(at, partial(setattr, process, "stopping", True))
        self._scheduler.at(self._old_until, self._end)

    def _end(self) -> None:
        """End what still has the other version: no deployment stays half done."""
        for process in self._scheduler.live:
            if self._version_of.get(process, self._version) != self._version:
                process.stopping = True
