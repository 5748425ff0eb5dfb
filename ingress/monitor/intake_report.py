"""Tells Redis what this process received: a live view, and the long-term totals. Best effort, never in a request."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Final

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.shared.redis import script_calls
from deedbox.shared.retention import DAY_S

REPORT_EVERY_S: Final = 2.0

SILENT_LIFE_S: Final = DAY_S
"""Readers ignore a report after a minute; it stays this long for a process that cannot reach Redis meanwhile."""


class IntakeReporter:
    """Reports one process's intake. For one thread; after a fork, a new one is needed."""

    def __init__(
        self,
        intake: Intake,
        redis: StateRedis,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._intake = intake
        self._redis = redis
        self._clock = clock
        self._monotonic = monotonic
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._answered = False
        self._reported_at = float("-inf")
        self.is_well = True
        """Whether the last report was answered: the end of a process is no time to wait for a silent Redis."""

    def report(self, *, ends: bool = False) -> None:
        """Report, if it is time to. ``ends``: the process does; its totals stay, its live view goes.

        Raises Unavailable.
        """
        now = self._monotonic()
        if not ends and now - self._reported_at < REPORT_EVERY_S:
            return
        report = self._intake.totals().report(self._process, self._clock())
        self.is_well = False
        script_calls.report_intake(
            self._redis.scripts(), process=self._process, report=report.dump(), answered=self._answered, ends=ends,
            life_s=SILENT_LIFE_S,
        )  # fmt: skip
        self._answered = self.is_well = True
        self._reported_at = now
