"""What a web process received: counted on the request path with a few integer additions, told elsewhere.

A thread beside the requests reports the totals to Redis (``intake_report``) and to the metrics port
(``exposition``); a request waits for neither.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from deedbox.shared.core.reasons import Refusal
from deedbox.shared.records.intake_report import IntakeReport, SourceReport
from deedbox.shared.runtime.forks import call_in_children

ACK_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
"""Upper bounds of the acknowledgement histogram. Dropbox Sign gives up after 25 s; we promise 2 s."""

SHOWN_BOUNDS: Final = 11
"""So many of them stand in the live report; what took longer is its last bucket."""

FAILURES_KEPT: Final = 10
"""After so many failures in a row Dropbox Sign drops the callback URL; more need not be remembered."""

NO_SOURCE: Final = ""
"""Counts requests to sources that are not configured, whose names could be any text, and what no source's sender has
sent: neither a hash that fits nor the vendor's ``User-Agent``. None of that is a failure of Dropbox Sign's."""

NOT_THE_VENDORS: Final = frozenset({Refusal.METHOD_NOT_ALLOWED})
"""Refusals that Dropbox Sign never gets: it sends POST. They say nothing about its patience."""

TEST_EVENT: Final = "callback_test"


@dataclass(slots=True)
class IntakeTally:
    """One source's totals since the process started. Times are unix seconds."""

    accepted: int = 0
    spooled: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    last_accepted_at: float | None = None
    """Of the last acknowledgement, from the broker or from the spool."""
    last_test_at: float | None = None
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES_KEPT))
    """Refusals since then, oldest first."""

    def copy(self) -> IntakeTally:
        """Return a copy that goes on counting by itself."""
        failures = deque(self.failures, FAILURES_KEPT)
        return IntakeTally(
            self.accepted,
            self.spooled,
            dict(self.refused),
            self.last_accepted_at,
            self.last_test_at,
            failures,
        )


@dataclass(frozen=True, slots=True)
class IntakeTotals:
    """Everything counted so far, at one moment."""

    started_at: float
    sources: Mapping[str, IntakeTally]
    """``NO_SOURCE`` counts all others."""
    ack_counts: tuple[int, ...]
    """Acknowledgements per bucket of ``ACK_BOUNDS_S``, and the rest."""
    ack_sum_s: float
    publish_errors: int

    def report(self, process: str, at: float) -> IntakeReport:
        """Return the live report. ``at``: unix seconds."""
        return IntakeReport(
            process,
            round(at, 3),
            round(self.started_at, 3),
            bounds_ms=tuple(s * 1000 for s in ACK_BOUNDS_S[:SHOWN_BOUNDS]),
            counts=(*self.ack_counts[:SHOWN_BOUNDS], sum(self.ack_counts[SHOWN_BOUNDS:])),
            sources={
                name: SourceReport(
                    tally.accepted,
                    tally.spooled,
                    tally.refused,
                    _ms(tally.last_accepted_at),
                    _ms(tally.last_test_at),
                    tuple(round(failed_at, 3) for failed_at in tally.failures),
                )
                for name, tally in self.sources.items()
                if name != NO_SOURCE
            },
            strays=self.sources[NO_SOURCE].refused,
        )


class Intake:
    """The counters of one process; safe for threads. A forked child begins at zero."""

    def __init__(self, sources: Iterable[str] = (), clock: Callable[[], float] = time.time) -> None:
        """Begin at zero. ``sources``: the configured names, nothing else becomes a label; ``clock``: unix seconds."""
        self._names = (*sources, NO_SOURCE)
        self._clock = clock
        self._start_anew()
        call_in_children(self._start_anew)

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
        self._started_at = self._clock()
        self._tallies = {name: IntakeTally() for name in self._names}
        self._ack_counts = [0] * (len(ACK_BOUNDS_S) + 1)
        self._ack_sum_s = 0.0
        self._publish_errors = 0

    def acknowledged(self, source: str, event_type: str, at: float, took_s: float, *, spooled: bool) -> None:
        """Count a callback that was acknowledged after ``took_s`` seconds."""
        tally = self._tallies[source]
        bucket = bisect_left(ACK_BOUNDS_S, took_s)
        with self._lock:
            if spooled:
                tally.spooled += 1
            else:
                tally.accepted += 1
            tally.last_accepted_at = at
            tally.failures.clear()
            self._ack_counts[bucket] += 1
            self._ack_sum_s += took_s
            if event_type == TEST_EVENT:
                tally.last_test_at = at

    def refused(self, source: str, reason: Refusal, at: float, *, vouched: bool) -> None:
        """Count a request that was not acknowledged. ``vouched``: it may have come from Dropbox Sign."""
        tally = (self._tallies.get(source) if vouched else None) or self._tallies[NO_SOURCE]
        with self._lock:
            tally.refused[reason] = tally.refused.get(reason, 0) + 1
            if reason not in NOT_THE_VENDORS:
                tally.failures.append(at)

    def publish_failed(self) -> None:
        """Count a publish that the broker did not confirm."""
        with self._lock:
            self._publish_errors += 1

    def totals(self) -> IntakeTotals:
        """Return everything counted so far."""
        with self._lock:
            return IntakeTotals(
                self._started_at,
                {name: tally.copy() for name, tally in self._tallies.items()},
                tuple(self._ack_counts),
                self._ack_sum_s,
                self._publish_errors,
            )


def _ms(at: float | None) -> float | None:
    """Round to the milliseconds that Redis's JSON keeps."""
    return None if at is None else round(at, 3)
