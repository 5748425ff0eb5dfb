"""What the simulator's player did: one record per delivery, and the counts that a report needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from deedbox.shared.simulator.lifecycle import SimulatedFact
from deedbox.shared.simulator.traffic import Delivery


class DeliveryOutcome(StrEnum):
    """How a delivery ended."""

    ACKED = "acked"
    REFUSED = "refused"
    """A bad signature got its 401."""
    FORGERY_ACKED = "forgery_acked"
    """A bad signature got an acknowledgement: the receiver does not verify."""
    FAILED = "failed"
    """Given up after the last retry."""
    UNFINISHED = "unfinished"
    """Stopped before its first attempt or while it waited for a retry."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One delivery: how it stands, and at its end what came of it."""

    delivery: Delivery
    outcome: DeliveryOutcome = DeliveryOutcome.UNFINISHED
    attempts: int = 0
    status: int | None = None
    """Of the last attempt; None: no HTTP answer, or no attempt."""
    latency_s: float = 0.0
    """Of the last attempt, from the start of the POST to the end of the answer."""
    started_late_s: float = 0.0
    """How long after its time the first attempt started: above zero, the player had too few threads."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run is, and what came of it."""

    planned: int
    """Deliveries in the schedule."""
    sent: int
    """Deliveries with at least one attempt."""
    attempts: int
    """POSTs, retries included."""
    acked: int
    """Genuine deliveries that were acknowledged, duplicates included."""
    refused: int
    """Bad signatures that got their 401."""
    forgeries_acked: int
    """Anything but 0 is a finding."""
    failed: int
    """Given up after the last retry."""
    unfinished: int
    """Cut off by a stop; 0 while the run goes on."""


@dataclass(slots=True)
class Ledger:
    """The outcome of a whole run."""

    planned: int
    records: list[DeliveryRecord] = field(default_factory=list)
    """In order of completion."""
    duration_s: float = 0.0
    _sent: int = 0
    _attempts: int = 0
    _outcomes: Counter[DeliveryOutcome] = field(default_factory=Counter)

    def note_attempt(self, *, first: bool) -> None:
        """Count a POST that is about to start."""
        self._attempts += 1
        self._sent += first

    def note(self, record: DeliveryRecord) -> None:
        """Record the end of a delivery."""
        self.records.append(record)
        self._outcomes[record.outcome] += 1

    def counts(self) -> Counts:
        """Return the counts so far."""
        return Counts(
            planned=self.planned,
            sent=self._sent,
            attempts=self._attempts,
            acked=self._outcomes[DeliveryOutcome.ACKED],
            refused=self._outcomes[DeliveryOutcome.REFUSED],
            forgeries_acked=self._outcomes[DeliveryOutcome.FORGERY_ACKED],
            failed=self._outcomes[DeliveryOutcome.FAILED],
            unfinished=self._outcomes[DeliveryOutcome.UNFINISHED],
        )

    def acked_facts(self) -> set[SimulatedFact]:
        """Return what the receiver has promised to keep."""
        return {r.delivery.callback.fact for r in self.records if r.outcome is DeliveryOutcome.ACKED}

    def redundant_acks(self) -> int:
        """Count acknowledged deliveries beyond the first of each fact.

        A receiver sees at least so many duplicates; more, if an acknowledgement got lost on the way.
        """
        return self._outcomes[DeliveryOutcome.ACKED] - len(self.acked_facts())

    def latencies_s(self) -> list[float]:
        """Return the sorted latencies of acknowledged deliveries."""
        return sorted(r.latency_s for r in self.records if r.outcome is DeliveryOutcome.ACKED)
