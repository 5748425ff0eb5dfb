"""The metrics of ingress in Prometheus's form: each process writes its own files, any of them serves all.

``prometheus_client`` decides on its multiprocess mode when it is imported: ``metrics_port`` sets what it needs, and
imports this module afterwards, in the worker. The table of names is ``deploy/metrics.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deedbox.ingress.monitor.counters import ACK_BOUNDS_S, NO_SOURCE, IntakeTally, IntakeTotals
from deedbox.ingress.publish.breaker import BreakerState
from deedbox.ingress.spool.usage import Usage
from deedbox.shared.core.reasons import Refusal

PREFIX: Final = "deedbox_ingress_"


class _Acknowledgements(Histogram):
    """A histogram that takes what was counted elsewhere: observing is too dear for the request path."""

    def add(self, counts: Sequence[int], sum_s: float) -> None:
        """Add to each bucket, and to the sum."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(sum_s)


class Exposition:
    """One process's metrics, brought up to date from its totals. For one thread."""

    def __init__(self, sources: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns unix seconds."""
        self._clock = clock
        self._told: IntakeTotals | None = None
        registry = CollectorRegistry()
        self._requests = Counter(
            PREFIX + "requests", "Requests to the callback URL.", ["source", "outcome", "reason"], registry=registry
        )  # fmt: skip
        self._acks = _Acknowledgements(
            PREFIX + "ack_duration_seconds", "Time from receipt to acknowledgement.", buckets=ACK_BOUNDS_S,
            registry=registry,
        )  # fmt: skip
        self._publish_errors = Counter(
            PREFIX + "publish_errors", "Publishes that the broker did not confirm.", registry=registry
        )
        self._breakers = Gauge(
            PREFIX + "breaker_processes", "Web processes by the state of their circuit breaker.", ["state"],
            multiprocess_mode="livesum", registry=registry,
        )  # fmt: skip
        self._spool = {
            name: Gauge(PREFIX + name, text, multiprocess_mode="livemostrecent", registry=registry)
            for name, text in (
                ("spool_callbacks", "Callbacks in this host's spool."),
                ("spool_bytes", "Bytes of this host's spool that are not published yet."),
                ("spool_oldest_age_seconds", "Age of the oldest callback in this host's spool."),
            )
        }
        info = Gauge(
            PREFIX + "build_info", "Always 1.", ["version"], multiprocess_mode="livemax", registry=registry
        )
        info.labels(version("deedbox")).set(1)
        for source in sources:
            # From zero on: an increase cannot see the first burst of a series that begins with it.
            for outcome in ("accepted", "spooled"):
                self._requests.labels(source, outcome, "")
            for reason in Refusal:
                self._requests.labels(source, "refused", str(reason))

    def update(self, totals: IntakeTotals, usage: Usage | None, state: BreakerState) -> None:
        """Write what changed since the last call."""
        told = self._told
        for source, tally in totals.sources.items():
            self._count(source, tally, told.sources[source] if told else IntakeTally())
        before = told.ack_counts if told else (0,) * len(totals.ack_counts)
        counts = [now - then for now, then in zip(totals.ack_counts, before, strict=True)]
        self._acks.add(counts, totals.ack_sum_s - (told.ack_sum_s if told else 0.0))
        self._publish_errors.inc(totals.publish_errors - (told.publish_errors if told else 0))
        self._told = totals
        for each in BreakerState:
            self._breakers.labels(str(each)).set(each is state)
        self._show_spool(usage)

    def _count(self, source: str, now: IntakeTally, then: IntakeTally) -> None:
        if source != NO_SOURCE:
            self._requests.labels(source, "accepted", "").inc(now.accepted - then.accepted)
            self._requests.labels(source, "spooled", "").inc(now.spooled - then.spooled)
        for reason, count in now.refused.items():
            self._requests.labels(source, "refused", str(reason)).inc(count - then.refused.get(reason, 0))

    def _show_spool(self, usage: Usage | None) -> None:
        oldest = usage.oldest_received_at if usage else None
        self._spool["spool_callbacks"].set(usage.callbacks if usage else 0)
        self._spool["spool_bytes"].set(usage.bytes if usage else 0)
        self._spool["spool_oldest_age_seconds"].set(max(0.0, self._clock() - oldest) if oldest else 0.0)
