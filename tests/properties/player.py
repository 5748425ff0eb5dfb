"""Plays deliveries through ``step`` and writes down what a user could observe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deedbox.shared.core.ordering import (
    Arrival,
    Decision,
    OrderingPolicy,
    Position,
    Proof,
    SequenceState,
    step,
)
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.records import order_state
from tests.properties.oracle import Event
from tests.properties.traffic import Delivery


def arrival(event: Event) -> Arrival:
    """Reduce an event as the sequencer does."""
    payload = {} if event.request is None else {"signature_request": event.request}
    return arrival_of(event.type, event.time, event.related, event.fingerprint, payload)


def stored(state: SequenceState) -> SequenceState:
    """Return the state as another process reads it back."""
    read = order_state.load(order_state.dump(state))
    assert isinstance(read, SequenceState)
    return read


@dataclass
class Line:
    """One release."""

    fingerprint: str
    position: Position
    late: bool
    since: float
    at: float


@dataclass
class Player:
    """One ordering key in the hands of a sequencer, with its dedupe memory."""

    policy: OrderingPolicy
    restarts: bool = False
    """Write and read the state back after every step."""
    state: SequenceState = SequenceState()
    seen: set[str] = field(default_factory=set)
    lines: list[Line] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    given_up: list[Proof] = field(default_factory=list)
    wake_at: float | None = None

    def step(self, batch: Iterable[Delivery], now: float) -> Decision:
        """Take one step at ``now``."""
        given = [(arrival(delivery.event), delivery.at) for delivery in batch]
        decision = step(self.state, given, now, self.policy, self.seen)
        self.seen.update(each.fingerprint for each, _ in given)
        self.state = stored(decision.state) if self.restarts else decision.state
        self.lines += [
            Line(each.arrival.fingerprint, each.arrival.position, each.late, each.since, now)
            for each in decision.release
        ]
        self.duplicates += [each.fingerprint for each in decision.duplicates]
        self.given_up += decision.given_up
        self.wake_at = decision.wake_at
        return decision

    def wake(self, until: float | None = None) -> None:
        """Step whenever a held event asks for it, up to ``until``, or until nothing is held."""
        while self.wake_at is not None and (until is None or self.wake_at < until):
            decision = self.step((), self.wake_at)
            assert decision.release, "a wake that releases nothing would repeat for ever"

    def play(self, parts: Sequence[Sequence[Delivery]], *, prompt: bool = False) -> list[str]:
        """Step once per batch, at its last append; then wake until nothing is held. Returns what went out.

        ``prompt``: also wake between the batches, as a punctual sweeper does while the inbox is empty.
        """
        for part in parts:
            if prompt:
                self.wake(until=part[0].at)
            self.step(part, part[-1].at)
        self.wake()
        return [line.fingerprint for line in self.lines]
