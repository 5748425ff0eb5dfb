"""What was given up, and who waits for it once more."""

from __future__ import annotations

from deedbox.shared.core.ordering import Arrival, SequenceState, step
from tests.unit.core.ordering_events import (
    ALL_SIGNED,
    DOWNLOADABLE,
    HOLD_S,
    POLICY,
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


def test_a_view_that_is_out_of_order_anyway_costs_no_second_wait() -> None:
    state = after(event(SIGNED, T + 5, "a", rows=[("a", T + 2, T + 5)]))
    later = event(DOWNLOADABLE, T + 9, rows=[("a", T + 2, T + 5)])
    assert out(arrive(state, later, now=T + 40.0)) == ["downloadable"]


def ending(second: int = T + 9) -> Arrival:
    """Return a `destroyed` that shows the signature of T + 5, which does not come in time."""
    return event(P + "destroyed", second, rows=[("a", None, T + 5)], name=f"destroyed@{second}")


ALL_SIGNED_ALONE = event(ALL_SIGNED, T + 5, rows=[("a", None, T + 5)])


def test_the_first_event_of_a_later_second_waits_once_more() -> None:
    """`signed` is behind `all_signed`, but of its second: only `destroyed` would put event_time out of order."""
    held = arrive(after(ALL_SIGNED_ALONE), ending(), now=T + 40.0)
    assert (out(held), held.wake_at) == ([], T + 40.0 + HOLD_S)
    came = arrive(held.state, event(SIGNED, T + 5, "a", rows=[("a", None, T + 5)]), now=T + 50.0)
    assert out(came) == ["signed", "destroyed"]
    assert [each.late for each in came.release] == [True, False]


def test_the_second_wait_is_the_last_one_for_that_predecessor() -> None:
    held = arrive(after(ALL_SIGNED_ALONE), ending(), now=T + 40.0)
    over = step(held.state, [], T + 70.0, POLICY)
    assert [proof.name for proof in over.given_up] == [f"{SIGNED}|a"]
    assert out(arrive(over.state, ending(T + 11), now=T + 80.0)) == ["destroyed"]


def test_an_event_of_the_same_second_does_not_wait_again() -> None:
    assert out(arrive(after(ALL_SIGNED_ALONE), ending(T + 5), now=T + 40.0)) == ["destroyed"]


def test_an_event_that_was_held_behind_waits_again_for_the_rest_of_its_own_hold() -> None:
    state = arrive(SequenceState(), ALL_SIGNED_ALONE).state
    state = arrive(state, ending(), now=T + 10.0).state
    first = step(state, [], T + HOLD_S, POLICY)
    assert (out(first), first.wake_at) == (["all_signed"], T + 10.0 + HOLD_S)


def test_a_sent_that_may_be_of_the_second_of_what_was_released_is_waited_for_again() -> None:
    """`created_at` is the earliest second of `sent`: it may be as young as the view that went out without it."""
    state = after(event(VIEWED, T + 2, "a", created_at=T, rows=[("a", T + 2, None)]))
    later = event(SIGNED, T + 9, "a", created_at=T, rows=[("a", T + 2, T + 9)])
    held = arrive(state, later, now=T + 40.0)
    assert out(held) == []
    assert out(arrive(held.state, event(SENT, T + 2, created_at=T), now=T + 50.0)) == ["sent", "signed"]


def test_a_newer_view_of_a_signer_whose_view_was_given_up_is_waited_for() -> None:
    state = after(event(SIGNED, T + 5, "a", rows=[("a", T + 2, T + 5)]))
    later = event(DOWNLOADABLE, T + 9, rows=[("a", T + 7, T + 5)])
    assert out(arrive(state, later, now=T + 40.0)) == []


def test_another_gap_costs_a_wait_of_its_own() -> None:
    state = after(event(SIGNED, T + 3, "a", rows=[("a", T + 2, T + 3)]))
    later = event(SIGNED, T + 9, "c", rows=[("a", T + 2, T + 3), ("b", T + 4, None)])
    decision = arrive(state, later, now=T + 40.0)
    assert (out(decision), decision.wake_at) == ([], T + 70.0)
