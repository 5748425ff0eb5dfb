"""What a web process does beside its requests: empties the spool, reports on it and on the intake, watches the room.

A thread for each, because one server may be silent while the others are well. Any process of a host empties the spool, also of
what dead processes left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from deedbox.ingress.monitor.counters import Intake, IntakeTotals
from deedbox.ingress.monitor.intake_report import IntakeReporter
from deedbox.ingress.monitor.readiness import PingedBroker
from deedbox.ingress.publish.breaker import BreakerState
from deedbox.ingress.publish.broker_memory import LOOK_EVERY_S, Room
from deedbox.ingress.publish.circuit import Circuit
from deedbox.ingress.spool.drain import Drainer, Sink, SpoolDrained
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.ingress.spool.usage import Gauge, Reporter, Usage
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage
from deedbox.shared.settings import Settings

DRAIN_EVERY_S: Final = 0.5
DRAIN_AGAIN_S: Final = 2.0
"""After trouble."""

SLICE_S: Final = 5.0
"""Longest drain in one go; then the thread looks at everything else again."""

SHOW_EVERY_S: Final = 1.0
"""A killed worker takes what it counted since then with it."""

REPORT_EVERY_S: Final = 1.0
REPORT_AGAIN_S: Final = 5.0
"""After Redis did not answer."""

_log = logs.get("spool")


class Link(PingedBroker, Sink, Protocol):
    """The broker as a web process needs it: publish, ping, and many at once."""


Expose = Callable[[IntakeTotals, Usage | None, BreakerState], None]
"""Shows the metrics port what is so now."""


class Background:
    """The threads of one process. They start with ``start``: a thread does not survive a fork."""

    def __init__(
        self,
        settings: Settings,
        broker: Link,
        circuit: Circuit,
        room: Room,
        folder: SpoolDir,
        spool: Spool | None,
        intake: Intake,
    ) -> None:
        """``spool``: where this process writes, if it does."""
        self._room = room
        self._broker = broker
        self._circuit = circuit
        self._folder = folder
        self._spool = spool
        self._drainer = Drainer(folder, broker, paused=room.look)
        redis = StateRedis(settings)
        self._reporter = Reporter(settings, folder, redis=redis)
        self._outage = Outage(_log, "spool.not_drained")
        self._intake = intake
        self._intake_reporter = IntakeReporter(intake, redis)
        self._gauge = Gauge(folder)
        self.expose: Expose | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Start the threads that do not run; costs nothing if all do."""
        if self._threads and all(thread.is_alive() for thread in self._threads.values()):
            return
        loops: dict[str, Callable[[], None]] = {"deedbox-report": self._report}
        if self._spool is not None or self._folder.exists():
            loops["deedbox-drain"] = self._drain_for_ever
            loops["deedbox-room"] = self._watch_room
        if self.expose is not None:
            loops["deedbox-show"] = self._show_for_ever
        with self._lock:
            for name, loop in loops.items():
                running = self._threads.get(name)
                if not self._stopped.is_set() and not (running and running.is_alive()):
                    self._threads[name] = threading.Thread(target=loop, name=name, daemon=True)
                    self._threads[name].start()

    def close(self, patience_s: float) -> None:
        """Stop, and drain what can be drained in so many seconds; the rest is for other processes."""
        self._stopped.set()
        until = time.monotonic() + patience_s
        if self._spool is not None:
            self._spool.close(patience_s / 2)
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))
        if (
            self._threads
            and self._circuit.is_closed
            and not any(t.is_alive() for t in self._threads.values())
        ):
            self._drainer.drain(until)
            with suppress(Unavailable, OSError):
                self._reporter.report(at_once=True)
        if not any(thread.is_alive() for thread in self._threads.values()):
            with suppress(OSError):
                self._show()
            self._drainer.close()
            self._reporter.close()
            self._gauge.close()
        if self._intake_reporter.is_well and time.monotonic() < until:
            with suppress(Unavailable):
                self._intake_reporter.report(ends=True)

    def drain_once(self) -> float:
        """Drain, if the broker is well or it is time to see whether it is. Returns how long to wait then (s)."""
        if self._room.look():
            return DRAIN_EVERY_S
        probing = self._circuit.claim_probe()
        if not self._circuit.is_closed and not (probing and self._answers()):
            return DRAIN_EVERY_S
        found = self._drainer.drain(time.monotonic() + SLICE_S, probe=probing)
        if probing:
            # A broker that answers and that has nothing to take counts as well.
            self._circuit.probe_ended(well=found.trouble is None or found.published > 0)
        return self._told(found)

    def _answers(self) -> bool:
        """Ask the broker before a probe: a ping that fails costs one wait, a publish that fails costs three."""
        try:
            self._broker.ping()
        except Unavailable:
            self._circuit.probe_ended(well=False)
            return False
        return True

    def _told(self, found: SpoolDrained) -> float:
        if found.published or found.set_aside:
            _log.info("spool.drained", callbacks=found.published, set_aside=found.set_aside)
        if found.trouble or found.unreadable:
            self._outage.lasts(cause=found.trouble, unreadable=found.unreadable)
            return DRAIN_AGAIN_S
        self._outage.ended()
        return DRAIN_EVERY_S

    def _drain_for_ever(self) -> None:
        wait_s = DRAIN_EVERY_S
        while not self._stopped.wait(wait_s):
            try:
                wait_s = self.drain_once()
            except Exception as error:  # noqa: BLE001 - nothing else empties the spool and closes the breaker
                _failed(error)

    def _watch_room(self) -> None:
        wait_s = 0.0  # at once: a process that starts beside a full broker must not add to it
        while not self._stopped.wait(wait_s):
            wait_s = LOOK_EVERY_S
            try:
                self._room.look()
            except Exception as error:  # noqa: BLE001 - the thread must not end
                _failed(error)

    def _report(self) -> None:
        wait_s = REPORT_EVERY_S
        while not self._stopped.wait(wait_s):
            wait_s = REPORT_EVERY_S
            try:
                self._intake_reporter.report()
                self._reporter.report()
            except (Unavailable, OSError):
                wait_s = REPORT_AGAIN_S
            except Exception as error:  # noqa: BLE001 - the thread must not end
                _failed(error)

    def _show_for_ever(self) -> None:
        while not self._stopped.wait(SHOW_EVERY_S):
            try:
                self._show()
            except Exception as error:  # noqa: BLE001 - the thread must not end
                _failed(error)

    def _show(self) -> None:
        """Bring the metrics port up to date. Raises OSError."""
        if self.expose is not None:
            usage = self._gauge.usage() if self._folder.exists() else None
            self.expose(self._intake.totals(), usage, self._circuit.state)


def _failed(error: Exception) -> None:
    _log.error("spool.failed", exception=type(error).__name__, frames=logs.frames(error.__traceback__))
