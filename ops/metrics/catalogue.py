"""Every metric of ops: name, type, labels, meaning. ``deploy/metrics.md`` says the same; a test compares them.

Each label is bounded: stages, lanes, actions and kinds by what is registered, sources by the settings, reasons and
outcomes by closed lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric. Names of counters stand here without ``_total``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()

    def family(self) -> Family:
        """Return it without values."""
        if self.kind == "counter":
            return CounterMetricFamily(self.name, self.text, labels=self.labels)
        if self.kind == "histogram":
            return HistogramMetricFamily(self.name, self.text, labels=self.labels)
        return GaugeMetricFamily(self.name, self.text, labels=self.labels)


def _counter(name: str, text: str, *labels: str) -> Figure:
    return Figure("deedbox_" + name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Figure:
    return Figure("deedbox_" + name, "gauge", text, labels)


UP: Final = _gauge("up", "Whether the state's Redis answered.")
BROKER_UP: Final = _gauge("broker_up", "Whether the broker answered.")
BUILD_INFO: Final = _gauge("build_info", "Always 1.", "version")

STAGE_DEPTH: Final = _gauge("stage_depth", "What is in a stage.", "stage")
STAGE_AGE: Final = _gauge("stage_oldest_age_seconds", "Age of the oldest item of a stage.", "stage")
SPOOL_BYTES: Final = _gauge("spool_bytes", "Bytes in the spools of all ingress hosts.")

SIMPLE: Final = {
    "arrived": _counter("callbacks_arrived", "Callbacks that reached the sequencer."),
    "duplicate": _counter("callbacks_duplicate", "Callbacks that told a known fact again."),
    "conflict": _counter("callbacks_conflict", "Repeats with another body."),
    "too_old": _counter("callbacks_too_old", "Callbacks older than DEEDBOX_MAX_EVENT_AGE_S at receipt."),
    "quarantined": _counter("callbacks_undecodable", "Messages that could not be decoded."),
    "misplaced": _counter("callbacks_misplaced", "Callbacks moved to the shard of their request."),
    "crowded": _counter("requests_crowded", "Requests whose snapshots proved more than is waited for."),
    "foreign_jobs": _counter("foreign_jobs", "Jobs in Deedbox's queues that Deedbox did not write; dropped."),
    "released": _counter("events_released", "Events released in order."),
    "late": _counter("events_late", "Events released behind a later one of their request."),
    "held": _counter("holds", "Events that had to wait for a predecessor."),
    "given_up": _counter("predecessors_given_up", "Predecessors that holds waited for in vain."),
    "documents_stored": _counter("documents_stored", "Documents fetched and stored."),
}
"""By the name of the counter in Redis."""

HOLDS_ENDED: Final = _counter("holds_ended", "Held events that were released.", "outcome")
BODY_SIGNATURES: Final = _counter(
    "body_signatures", "Verdicts on the header Content-Sha256 of arrived callbacks.", "verdict"
)
DEAD_LETTERS: Final = _counter("dead_letters", "Dead letters filed.", "reason")
CALLS: Final = _counter("action_calls", "Calls of actions by how they ended.", "lane", "action", "outcome")
DURATION: Final = Figure(
    "deedbox_action_duration_seconds", "histogram", "Duration of the calls of actions.", ("lane", "action")
)

WORKERS: Final = _gauge("workers", "Living workers of a lane.", "lane")
BRIDGES: Final = _gauge("bridges", "Living bridges.")
WEB_PROCESSES: Final = _gauge("web_processes", "Web processes that reported within a minute.")
OVERDUE: Final = _gauge("overdue_seconds", "How long work that only a sweeper wakes has been due.")

ACKNOWLEDGED: Final = _counter(
    "intake_acknowledged", "Callbacks acknowledged by ingress.", "source", "outcome"
)
REFUSED: Final = _counter("intake_refused", "Requests refused by ingress.", "source", "reason")
FAILURES_LEFT: Final = _gauge(
    "source_failures_left", "Failures in a row until Dropbox Sign drops the callback URL.", "source"
)
LAST_ACCEPTED: Final = _gauge(
    "source_last_accepted_timestamp_seconds", "When ingress acknowledged the last callback.", "source"
)
LAST_TEST: Final = _gauge(
    "source_last_test_timestamp_seconds", "When ingress acknowledged the last callback_test.", "source"
)

BUDGET: Final = _gauge("api_budget_calls", "API calls per minute that the settings allow.", "source", "kind")
BUDGET_LEFT: Final = _gauge(
    "api_budget_left_calls", "API calls left in the last minute's budget.", "source", "kind"
)
PAUSE: Final = _gauge("api_pause_seconds", "How long the API still asks this source to wait.", "source")

HEAD: Final = (UP, BROKER_UP, BUILD_INFO)
FIGURES: Final = (
    *HEAD, STAGE_DEPTH, STAGE_AGE, SPOOL_BYTES, *SIMPLE.values(), HOLDS_ENDED, BODY_SIGNATURES, DEAD_LETTERS, CALLS,
    DURATION, WORKERS, BRIDGES, WEB_PROCESSES, OVERDUE, ACKNOWLEDGED, REFUSED, FAILURES_LEFT, LAST_ACCEPTED, LAST_TEST,
    BUDGET, BUDGET_LEFT, PAUSE,
)  # fmt: skip
