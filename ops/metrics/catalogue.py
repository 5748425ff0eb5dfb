"""Every metric of ops: name, type, labels, meaning. ``docs/metrics.md`` is made from it.

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
    """One metric. Names of counters are without ``_total``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()

    def family(self) -> Family:
        """Return it without values."""
        text = self.text.replace("``", "")
        if self.kind == "counter":
            return CounterMetricFamily(self.name, text, labels=self.labels)
        if self.kind == "histogram":
            return HistogramMetricFamily(self.name, text, labels=self.labels)
        return GaugeMetricFamily(self.name, text, labels=self.labels)


def _counter(name: str, text: str, *labels: str) -> Figure:
    return Figure("deedbox_" + name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Figure:
    return Figure("deedbox_" + name, "gauge", text, labels)


UP: Final = _gauge(
    "up", "1: the state's Redis answered; 0: it did not, and only ``deedbox_build_info`` is there."
)
BROKER_UP: Final = _gauge("broker_up", "1: the broker answered.")
BUILD_INFO: Final = _gauge("build_info", "Always 1.", "version")

STAGE_DEPTH: Final = _gauge(
    "stage_depth",
    "What is in a stage: ``broker``, ``claimed``, ``inbox``, ``held``, ``lane:<name>``, ``retrying``, ``dead``, ``spool``; absent if the broker does not tell.",
    "stage",
)
STAGE_AGE: Final = _gauge(
    "stage_oldest_age_seconds",
    "Age of the oldest item of a stage; absent where it cannot be told (brokers other than Redis).",
    "stage",
)
SPOOL_BYTES: Final = _gauge("spool_bytes", "Bytes in the spools of all ingress hosts.")

SIMPLE: Final = {
    "arrived": _counter("callbacks_arrived", "Callbacks that reached the sequencer."),
    "duplicate": _counter("callbacks_duplicate", "Callbacks that repeated a known fact."),
    "conflict": _counter("callbacks_conflict", "Repeats with another body."),
    "too_old": _counter("callbacks_too_old", "Callbacks older than ``DEEDBOX_MAX_EVENT_AGE_S`` at receipt."),
    "unsigned": _counter(
        "callbacks_unsigned", "Callbacks set aside because their source signs and they have no valid header."
    ),
    "better_body": _counter(
        "callbacks_better_body", "Repeats whose body was trusted more than the one that was known."
    ),
    "quarantined": _counter("callbacks_undecodable", "Messages that could not be decoded."),
    "misplaced": _counter("callbacks_misplaced", "Callbacks moved to the shard of their request."),
    "crowded": _counter("requests_crowded", "Requests whose snapshots proved more than is waited for."),
    "foreign_jobs": _counter(
        "foreign_jobs", "Jobs in Deedbox's queues that Deedbox did not write: dropped, not run."
    ),
    "released": _counter("events_released", "Events released in order."),
    "late": _counter("events_late", "Events released behind a later one of their request, and flagged."),
    "held": _counter("holds", "Events that had to wait for a predecessor."),
    "given_up": _counter(
        "predecessors_given_up", "Predecessors that a snapshot proves and that did not come in time."
    ),
    "reconciled": _counter(
        "events_reconciled",
        "Events whose callbacks are lost and that the API proves (``DEEDBOX_SYNTHESISE``).",
    ),
    "documents_stored": _counter("documents_stored", "Documents fetched and stored."),
}
"""By the name of the counter in Redis."""

HOLDS_ENDED: Final = _counter(
    "holds_ended",
    "Held events that were released; outcome ``satisfied`` (the predecessors came) or ``expired``.",
    "outcome",
)
BODY_SIGNATURES: Final = _counter(
    "body_signatures",
    "What ``Content-Sha256`` said of arrived callbacks: ``valid``, ``wrong``, ``absent``.",
    "verdict",
)
DEAD_LETTERS: Final = _counter(
    "dead_letters",
    "Dead letters filed, also those that a person has ended since; the stage ``dead`` says how many wait.",
    "reason",
)
CALLS: Final = _counter(
    "action_calls",
    "Calls of actions; outcome ``done``, ``retry`` (it asked for more time), ``error``, ``timeout``, ``dead``.",
    "lane",
    "action",
    "outcome",
)
DURATION: Final = Figure(
    "deedbox_action_duration_seconds",
    "histogram",
    "How long calls took; buckets from 1 ms to 5 min.",
    ("lane", "action"),
)

WORKERS: Final = _gauge("workers", "Living workers of a lane.", "lane")
BRIDGES: Final = _gauge("bridges", "Living bridges; absent if the broker does not tell.")
WEB_PROCESSES: Final = _gauge("web_processes", "Web processes of all hosts that reported within a minute.")
OVERDUE: Final = _gauge(
    "overdue_seconds",
    "How long holds, retries or abandoned leases have been due: a sweeper looks four times a second.",
)

PAUSES: Final = _gauge(
    "pauses", "What is paused; kind ``action``, ``destination``, ``lane``, ``source``, ``request``.", "kind"
)
PAUSE_AGE: Final = _gauge(
    "pause_oldest_age_seconds", "Age of the oldest pause of a kind; 0 if there is none.", "kind"
)

ACKNOWLEDGED: Final = _counter(
    "intake_acknowledged",
    "Callbacks acknowledged; outcome ``accepted`` (by the broker) or ``spooled``; over all web processes, for good.",
    "source",
    "outcome",
)
REFUSED: Final = _counter("intake_refused", "Requests refused; reason as in the runbook.", "source", "reason")
FAILURES_LEFT: Final = _gauge(
    "source_failures_left",
    "Failures in a row until Dropbox Sign drops the callback URL: 10 less those since the last acknowledgement.",
    "source",
)
LAST_ACCEPTED: Final = _gauge(
    "source_last_accepted_timestamp_seconds",
    "When the last callback was acknowledged; absent before the first.",
    "source",
)
LAST_TEST: Final = _gauge(
    "source_last_test_timestamp_seconds",
    "When the last ``callback_test`` was acknowledged; absent before the first.",
    "source",
)

BUDGET: Final = _gauge(
    "api_budget_calls",
    "API calls per minute that the settings allow; kind ``files``, ``test_files``, ``api``.",
    "source",
    "kind",
)
BUDGET_LEFT: Final = _gauge(
    "api_budget_left_calls",
    "What is left of that in the moving minute; sources with one key share it.",
    "source",
    "kind",
)
PAUSE: Final = _gauge("api_pause_seconds", "How long the API still asks this account to wait.", "source")

HEAD: Final = (UP, BROKER_UP, BUILD_INFO)
FIGURES: Final = (
    *HEAD, STAGE_DEPTH, STAGE_AGE, SPOOL_BYTES, *SIMPLE.values(), HOLDS_ENDED, BODY_SIGNATURES, DEAD_LETTERS, CALLS,
    DURATION, WORKERS, BRIDGES, WEB_PROCESSES, OVERDUE, PAUSES, PAUSE_AGE, ACKNOWLEDGED, REFUSED, FAILURES_LEFT, LAST_ACCEPTED, LAST_TEST,
    BUDGET, BUDGET_LEFT, PAUSE,
)  # fmt: skip
