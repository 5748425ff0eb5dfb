"""The metrics of ingress in Prometheus's form: each process writes its own files, any of them serves all.

``prometheus_client`` decides on its multiprocess mode when it is imported: ``metrics_port`` sets what it needs, and
imports this module afterwards, in the worker. ``docs/metrics.md`` is made from ``METRICS``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deedbox.ingress.monitor.counters import ACK_BOUNDS_S, NO_SOURCE, IntakeTally, IntakeTotals
from deedbox.ingress.publish.breaker import BreakerState
from deedbox.ingress.spool.usage import Usage
from deedbox.shared.core.reasons import Refusal

PREFIX: Final = "deedbox_ingress_"


class IngressMetric(NamedTuple):
    """One metric: its name without prefix and ``_total``."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = IngressMetric(
    "requests",
    "counter",
    "Requests to the callback URL; outcome ``accepted``, ``spooled`` or ``refused``; reason: why it was refused; an unknown source has an empty name.",
    ("source", "outcome", "reason"),
)
ACKS: Final = IngressMetric(
    "ack_duration_seconds",
    "histogram",
    "From receipt to acknowledgement; buckets from 1 ms to 25 s, where Dropbox Sign gives up.",
)
PUBLISH_ERRORS: Final = IngressMetric(
    "publish_errors", "counter", "Publishes that the broker did not confirm."
)
BREAKERS: Final = IngressMetric(
    "breaker_processes",
    "gauge",
    "Web processes by the state of their circuit breaker: ``closed`` publishes, ``open`` and ``half_open`` spool.",
    ("state",),
)
SPOOL_CALLBACKS: Final = IngressMetric("spool_callbacks", "gauge", "Callbacks in this host's spool.")
SPOOL_BYTES: Final = IngressMetric(
    "spool_bytes", "gauge", "Bytes of this host's spool that are not published yet."
)
SPOOL_AGE: Final = IngressMetric(
    "spool_oldest_age_seconds", "gauge", "Age of the oldest callback in this host's spool; 0: empty."
)
BUILD_INFO: Final = IngressMetric("build_info", "gauge", "Always 1.", ("version",))

METRICS: Final = (
    REQUESTS, ACKS, PUBLISH_ERRORS, BREAKERS, SPOOL_CALLBACKS, SPOOL_BYTES, SPOOL_AGE, BUILD_INFO,
)  # fmt: skip


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
        self._requests = Counter(*_named(REQUESTS), registry=registry)
        self._acks = _Acknowledgements(*_named(ACKS), buckets=ACK_BOUNDS_S, registry=registry)
        self._publish_errors = Counter(*_named(PUBLISH_ERRORS), registry=registry)
        self._breakers = Gauge(*_named(BREAKERS), multiprocess_mode="livesum", registry=registry)
        self._spool = {
            each.name: Gauge(*_named(each), multiprocess_mode="livemostrecent", registry=registry)
            for each in (SPOOL_CALLBACKS, SPOOL_BYTES, SPOOL_AGE)
        }
        info = Gauge(*_named(BUILD_INFO), multiprocess_mode="livemax", registry=registry)
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


def _named(metric: IngressMetric) -> tuple[str, str, tuple[str, ...]]:
    return PREFIX + metric.name, metric.text.replace("``", ""), metric.labels
