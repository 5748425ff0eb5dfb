"""While an ingress host spools, an event may wait for a callback that is still on that host's disk."""

from __future__ import annotations

from deedbox.shared.core.ordering import (
    SPOOL_LOOK_S,
    Arrival,
    OrderingPolicy,
    Position,
    Proof,
    SequenceState,
    step,
)

P = "signature_request_"
POLICY = OrderingPolicy(hold_s=30, settle_s=0, hold_max_s=600)
SIGNED = Arrival(
    Position(110, 4, "s1", "f-signed"), P + "signed", (Proof(P + "sent", "", 100),), frozenset({"s1"})
)
SENT = Arrival(Position(100, 1, "", "f-sent"), P + "sent")


def _held(at: float = 1000.0) -> SequenceState:
    return step(SequenceState(), [(SIGNED, at)], at, POLICY).state


def test_a_hold_does_not_end_while_older_callbacks_are_spooled() -> None:
    waited = step(_held(), [], 1100, POLICY, spooled_since=990)
    assert waited.release == ()
    assert waited.given_up == ()


def test_a_spool_that_filled_after_the_event_came_holds_nothing_up() -> None:
    assert len(step(_held(), [], 1030, POLICY, spooled_since=1001).release) == 1


def test_a_hold_ends_at_its_bound_whatever_the_spool_says() -> None:
    assert step(_held(), [], 1599.9, POLICY, spooled_since=990).release == ()
    assert len(step(_held(), [], 1600, POLICY, spooled_since=990).release) == 1


def test_a_hold_ends_soon_after_the_spool_is_empty() -> None:
    state = step(_held(), [], 1100, POLICY, spooled_since=990)
    assert state.wake_at == 1100 + SPOOL_LOOK_S
    assert len(step(state.state, [], state.wake_at, POLICY).release) == 1


def test_what_was_spooled_comes_before_what_waited_for_it() -> None:
    waited = step(_held(), [], 1100, POLICY, spooled_since=990)
    done = step(waited.state, [(SENT, 1101)], 1101, POLICY, spooled_since=990)
    assert [each.arrival.fingerprint for each in done.release] == ["f-sent", "f-signed"]
    assert done.late == ()
