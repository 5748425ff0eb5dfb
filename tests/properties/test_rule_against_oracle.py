"""The rule beside its oracle, step by step, with restarts in between."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deedbox.shared.core.ordering import OrderingPolicy
from tests.properties.oracle import Event, Reference, in_order
from tests.properties.player import Player, stored
from tests.properties.traffic import PHASES, Delivery, any_events, seconds, stories


class Sequence(RuleBasedStateMachine):
    """Any history of one ordering key: arrivals, repeats, time, punctual and late wakes, restarts."""

    @initialize(
        events=st.one_of(any_events(), stories()),
        hold_s=seconds(20.0),
        settle_s=st.one_of(st.just(0.0), seconds(20.0)),
    )
    def begin(self, events: list[Event], hold_s: float, settle_s: float) -> None:
        self.now = 1000.0
        self.events = events
        self.player = Player(OrderingPolicy(hold_s=hold_s, settle_s=settle_s))
        self.reference = Reference(hold_s=hold_s, settle_s=settle_s)

    def _step(self, arrivals: list[Event], since: float) -> None:
        late_before = len(self.player.duplicates)
        decision = self.player.step([Delivery(event, since) for event in arrivals], self.now)
        outcome = self.reference.step([(event, since) for event in arrivals], self.now)
        assert [(each.arrival.fingerprint, each.late) for each in decision.release] == outcome.released
        assert self.player.duplicates[late_before:] == outcome.duplicates
        gaps = sorted((proof.type, proof.signature) for proof in decision.given_up)
        assert gaps == sorted(outcome.given_up)
        assert decision.wake_at == outcome.wake_at

    @rule(picks=st.lists(st.integers(0, 30), min_size=1, max_size=4), waited_s=seconds(5.0))
    def arrive(self, picks: list[int], waited_s: float) -> None:
        self._step([self.events[pick % len(self.events)] for pick in picks], self.now - waited_s)

    @rule(passed_s=seconds(25.0))
    def wait(self, passed_s: float) -> None:
        self.now += passed_s
        self._step([], self.now)

    @precondition(lambda self: self.player.wake_at is not None)
    @rule()
    def wake(self) -> None:
        if self.player.wake_at is not None:
            self.now = self.player.wake_at
        before = len(self.player.lines)
        self._step([], self.now)
        assert len(self.player.lines) > before

    @rule()
    def restart(self) -> None:
        self.player.state = stored(self.player.state)

    @invariant()
    def released_held_and_unborn_are_all_there_is(self) -> None:
        held = [item.arrival.fingerprint for item in self.player.state.held]
        assert held == [event.fingerprint for event in in_order(self.reference.held)]
        released = [line.fingerprint for line in self.player.lines]
        assert sorted([*held, *released]) == sorted(event.fingerprint for event in self.reference.arrived)


SequenceTest = Sequence.TestCase
SequenceTest.settings = settings(
    derandomize=True, max_examples=80, stateful_step_count=25, deadline=None, phases=PHASES
)
