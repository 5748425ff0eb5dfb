"""The ordering rule, clause by clause (docs/promises.md): holds, late events, repeats."""

from __future__ import annotations

import pytest

from deedbox.shared.core.ordering import Held, OrderingPolicy, SequenceState, pass_through, rule, step
from tests.unit.core.ordering_events import (
    ALL_SIGNED,
    DOWNLOADABLE,
    HOLD_S,
    POLICY,
    REMIND,
    SENT,
    SIGNED,
    VIEWED,
    P,
    T,
    after,
    arrive,
    event,
    out,
)


def test_held_events_count_as_seen() -> None:
    """The signature waits for sent; what waits for the signature alone must not wait longer than it."""
    signed = event(SIGNED, T + 2, "a", created_at=T, rows=[("a", None, T + 2)])
    state = arrive(SequenceState(), signed).state
    state = arrive(state, event(P + "destroyed", T + 9, rows=[("a", None, T + 2)])).state
    decision = arrive(state, event(SENT, T + 1, created_at=T))
    assert out(decision) == ["sent", "signed", "destroyed"]
    assert decision.given_up == ()


def test_a_complete_event_waits_behind_a_smaller_one_that_is_not() -> None:
    state = arrive(SequenceState(), event(VIEWED, T + 2, "a", created_at=T, rows=[("a", T + 2, None)])).state
    assert out(arrive(state, event(REMIND, T + 9))) == []


def test_what_waited_for_the_hold_goes_out_and_its_gap_is_given_up() -> None:
    state = arrive(SequenceState(), event(VIEWED, T + 2, "a", created_at=T)).state
    decision = step(state, [], T + HOLD_S, POLICY)
    assert out(decision) == ["viewed"]
    assert [(proof.type, proof.time) for proof in decision.given_up] == [(SENT, T)]


def test_the_hold_of_an_event_behind_takes_the_smaller_ones_with_it() -> None:
    state = arrive(SequenceState(), event(SIGNED, T + 9, "a", created_at=T, rows=[("a", None, T + 9)])).state
    state = arrive(state, event(VIEWED, T + 5, "a", created_at=T), now=T + 20.0).state
    decision = step(state, [], T + HOLD_S, POLICY)
    assert out(decision) == ["viewed", "signed"]


def test_waiting_is_measured_from_the_append() -> None:
    view = event(VIEWED, T + 2, "a", created_at=T)
    decision = step(SequenceState(), [(view, T + 5.0)], T + 20.0, POLICY)
    assert decision.wake_at == T + 35.0
    assert decision.state.held[0].since == T + 5.0


def test_the_events_of_a_batch_are_released_without_a_look_at_all_of_them_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy request has a whole batch."""
    looks: list[float] = []
    expires = rule._expires

    def counted(item: Held, policy: OrderingPolicy, spooled_since: float | None) -> float:
        looks.append(item.since)
        return expires(item, policy, spooled_since)

    monkeypatch.setattr(rule, "_expires", counted)
    batch = [(event(REMIND, T + number), float(T + number)) for number in range(100)]
    assert len(step(SequenceState(), batch, T + 200.0, POLICY).release) == len(batch)
    assert len(looks) <= len(batch)


def test_a_late_event_is_released_at_once() -> None:
    state = after(event(REMIND, T + 9))
    decision = arrive(state, event(VIEWED, T + 2, "a", created_at=T, rows=[("a", T + 2, None)]))
    assert [(each.arrival.type, each.late) for each in decision.release] == [(VIEWED, True)]
    assert decision.late == (decision.release[0].arrival,)


def test_a_late_event_does_not_move_the_greatest_position() -> None:
    state = after(event(REMIND, T + 9))
    state = arrive(state, event(REMIND, T + 2, name="1")).state
    decision = arrive(state, event(REMIND, T + 5, name="2"))
    assert decision.state.greatest == state.greatest == event(REMIND, T + 9).position
    assert [each.late for each in decision.release] == [True]


def test_a_late_event_satisfies_the_proofs_of_others() -> None:
    state = after(event(REMIND, T + 9))
    state = arrive(state, event(VIEWED, T + 2, "a", rows=[("a", T + 2, None)])).state
    assert out(arrive(state, event(DOWNLOADABLE, T + 20, rows=[("a", T + 2, None)]))) == ["downloadable"]


def test_a_late_event_overtakes_what_is_held_and_leaves_it_held() -> None:
    state = after(event(REMIND, T + 9))
    state = arrive(state, event(DOWNLOADABLE, T + 20, rows=[("a", T + 2, None)])).state
    decision = arrive(state, event(REMIND, T + 3))
    assert out(decision) == ["remind"]
    assert len(decision.state.held) == 1


def test_an_event_behind_one_that_is_still_held_is_not_late() -> None:
    state = arrive(SequenceState(), event(VIEWED, T + 9, "a", created_at=T)).state
    decision = arrive(state, event(SENT, T + 1, created_at=T))
    assert [each.late for each in decision.release] == [False, False]


def test_every_event_settles() -> None:
    policy = OrderingPolicy(hold_s=HOLD_S, settle_s=4.0)
    decision = arrive(SequenceState(), event(REMIND, T), policy=policy)
    assert (out(decision), decision.wake_at) == ([], T + 4.0)
    assert out(step(decision.state, [], T + 4.0, policy)) == ["remind"]


def test_a_hold_shorter_than_the_settle_does_not_cut_it() -> None:
    policy = OrderingPolicy(hold_s=1.0, settle_s=4.0)
    decision = arrive(SequenceState(), event(VIEWED, T + 2, "a", created_at=T), policy=policy)
    assert decision.wake_at == T + 4.0


def test_a_fact_that_was_seen_is_a_duplicate() -> None:
    sent = event(SENT, T)
    decision = step(SequenceState(), [(sent, T)], T, POLICY, seen=[sent.fingerprint])
    assert (out(decision), decision.duplicates) == ([], (sent,))


def test_a_fact_that_is_held_or_came_twice_in_one_batch_is_a_duplicate() -> None:
    view = event(VIEWED, T + 2, "a", created_at=T)
    decision = arrive(SequenceState(), view, view)
    assert decision.duplicates == (view,)
    assert arrive(decision.state, view).duplicates == (view,)


def test_nothing_held_needs_no_wake() -> None:
    assert arrive(SequenceState(), event(SENT, T)).wake_at is None
    assert arrive(SequenceState()).wake_at is None


def test_the_steps_before_a_wake_change_nothing() -> None:
    state = arrive(SequenceState(), event(VIEWED, T + 2, "a", created_at=T)).state
    early = step(state, [], T + HOLD_S - 0.001, POLICY)
    assert (early.release, early.state, early.wake_at) == ((), state, T + HOLD_S)


def test_a_stream_without_an_order_passes_everything_new_through_as_it_came() -> None:
    arrivals = [(event("callback_test", at, name=str(at)), T) for at in (9, 3, 9, 5)]
    decision = pass_through(arrivals, seen=["5"])
    assert [each.arrival.position.time for each in decision.release] == [9, 3]
    assert [each.fingerprint for each in decision.duplicates] == ["9", "5"]
    assert (decision.late, decision.wake_at, decision.state) == ((), None, SequenceState())


def test_an_event_of_an_unknown_signer_stands_for_any_that_was_given_up() -> None:
    rows = [("a", None, T + 1), ("b", None, T + 2)]
    state = after(event(ALL_SIGNED, T + 9, rows=rows, complete=True))
    assert state.given_up.keys() == {f"{SIGNED}|a", f"{SIGNED}|b"}
    state = arrive(state, event(SIGNED, T + 1)).state
    assert state.given_up.keys() == {f"{SIGNED}|b"}
    assert arrive(state, event(VIEWED, T + 1)).state.given_up.keys() == {f"{SIGNED}|b"}
