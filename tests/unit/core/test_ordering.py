"""The ordering rule, clause by clause (docs/promises.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from deedbox.shared.core.ordering import (
    Arrival,
    Decision,
    OrderingPolicy,
    SequenceState,
    pass_through,
    step,
)
from deedbox.shared.core.snapshot import arrival_of

T = 1_700_000_000
DAY_S = 86_400
HOLD_S = 30.0
POLICY = OrderingPolicy(hold_s=HOLD_S)

P = "signature_request_"
SENT, VIEWED, SIGNED = P + "sent", P + "viewed", P + "signed"
ALL_SIGNED, DOWNLOADABLE, REMIND = P + "all_signed", P + "downloadable", P + "remind"

Row = tuple[str, int | None, int | None]


def event(
    event_type: str,
    at: int,
    related: str | None = None,
    *,
    created_at: object = None,
    rows: Sequence[Row] = (),
    complete: object = False,
    name: str = "",
) -> Arrival:
    """Return an arrival whose snapshot shows (signature, last_viewed_at, signed_at) rows."""
    request: dict[str, Any] = {
        "created_at": created_at,
        "is_complete": complete,
        "signatures": [
            {"signature_id": signature, "last_viewed_at": viewed, "signed_at": signed}
            for signature, viewed, signed in rows
        ],
    }
    fingerprint = name or f"{event_type}@{at}/{related}"
    return arrival_of(event_type, at, related, fingerprint, {"signature_request": request})


def arrive(
    state: SequenceState, *arrivals: Arrival, now: float = T, policy: OrderingPolicy = POLICY
) -> Decision:
    return step(state, [(arrival, now) for arrival in arrivals], now, policy)


def out(decision: Decision) -> list[str]:
    return [released.arrival.type.removeprefix(P) for released in decision.release]


def after(*arrivals: Arrival) -> SequenceState:
    """Return the state after events that arrived one by one and waited for as long as they had to."""
    state = SequenceState()
    for arrival in arrivals:
        state = arrive(state, arrival).state
        state = step(state, [], T + HOLD_S, POLICY).state
    return state


RANKED = [
    ["prepared"],
    ["sent"],
    ["reassigned", "remind", "email_bounce", "signer_removed"],
    ["viewed", "incomplete_qes", "of_next_year"],
    ["signed"],
    ["declined", "canceled", "expired", "invalid"],
    ["all_signed"],
    ["downloadable"],
    ["destroyed"],
]


@pytest.mark.parametrize("row", range(len(RANKED) - 1))
def test_events_of_one_second_stand_in_causal_order(row: int) -> None:
    for first in RANKED[row]:
        for then in RANKED[row + 1]:
            assert event(P + first, T, "z").position < event(P + then, T, "a").position


@pytest.mark.parametrize("row", range(len(RANKED)))
def test_types_of_one_rank_are_told_apart_by_their_signature(row: int) -> None:
    for one in RANKED[row]:
        for other in RANKED[row]:
            assert event(P + one, T, "a").position < event(P + other, T, "b").position


@pytest.mark.parametrize("failure", ["file_error", "unknown_error", "sign_url_invalid"])
def test_failures_stand_where_a_decline_stands(failure: str) -> None:
    assert event(failure, T).position.rank == event(P + "declined", T).position.rank


@pytest.mark.parametrize(
    "stranger", ["callback_test", "template_created", "sent", P + "file_error", "fax_sent"]
)
def test_every_type_that_is_not_listed_stands_where_a_view_stands(stranger: str) -> None:
    assert event(stranger, T).position.rank == event(VIEWED, T).position.rank


def test_the_time_comes_before_the_rank_and_the_fingerprint_comes_last() -> None:
    assert event(DOWNLOADABLE, T).position < event(P + "prepared", T + 1).position
    assert event(VIEWED, T, "a", name="1").position < event(VIEWED, T, "a", name="2").position
    assert event(VIEWED, T, "a", name="2").position < event(VIEWED, T, "b", name="1").position


def test_an_event_waits_for_the_sent_that_created_at_proves() -> None:
    decision = arrive(SequenceState(), event(VIEWED, T + 9, "a", created_at=T, rows=[("a", T + 9, None)]))
    assert out(decision) == []
    decision = arrive(decision.state, event(SENT, T + 3, created_at=T))
    assert out(decision) == ["sent", "viewed"]


def test_an_event_waits_for_the_views_and_signatures_that_its_snapshot_shows() -> None:
    final = event(DOWNLOADABLE, T + 9, rows=[("a", T + 1, T + 2), ("b", None, T + 3)])
    state = arrive(SequenceState(), final).state
    state = arrive(state, event(SIGNED, T + 2, "a", rows=[("a", T + 1, T + 2)])).state
    decision = arrive(state, event(VIEWED, T + 1, "a", rows=[("a", T + 1, None)]))
    assert out(decision) == ["viewed", "signed"]
    state = decision.state
    decision = arrive(state, event(SIGNED, T + 3, "b", rows=[("a", T + 1, T + 2), ("b", None, T + 3)]))
    assert out(decision) == ["signed", "downloadable"]


def test_downloadable_waits_for_the_all_signed_that_is_complete_proves() -> None:
    rows = [("a", None, T + 2)]
    state = after(event(SIGNED, T + 2, "a", rows=rows))
    decision = arrive(state, event(DOWNLOADABLE, T + 9, rows=rows, complete=True))
    assert out(decision) == []
    assert out(arrive(decision.state, event(ALL_SIGNED, T + 5))) == ["all_signed", "downloadable"]


@pytest.mark.parametrize("claim", [False, None, 1, "true"])
def test_only_a_true_is_complete_proves_all_signed(claim: object) -> None:
    rows = [("a", None, T + 2)]
    state = after(event(SIGNED, T + 2, "a", rows=rows))
    assert out(arrive(state, event(DOWNLOADABLE, T + 9, rows=rows, complete=claim))) == ["downloadable"]


def test_is_complete_proves_nothing_while_one_signature_is_later_than_the_event() -> None:
    """A snapshot may be younger than its event: this one was taken when b had signed, too."""
    rows = [("a", None, T + 2), ("b", None, T + 8)]
    state = after(event(SIGNED, T + 2, "a", rows=rows[:1]))
    assert out(arrive(state, event(REMIND, T + 5, "b", rows=rows, complete=True))) == ["remind"]


def test_the_last_signature_does_not_wait_for_all_signed() -> None:
    rows = [("a", None, T + 2)]
    assert out(arrive(SequenceState(), event(SIGNED, T + 2, "a", rows=rows, complete=True))) == ["signed"]


def test_a_proof_behind_the_event_itself_does_not_count() -> None:
    rows = [("a", T + 20, T + 30)]
    assert out(arrive(SequenceState(), event(REMIND, T + 9, "a", created_at=T + 10, rows=rows))) == ["remind"]


def test_a_proof_of_the_same_second_counts_if_its_rank_comes_first() -> None:
    assert out(arrive(SequenceState(), event(SIGNED, T, "a", rows=[("a", T, T)]))) == []
    assert out(arrive(SequenceState(), event(REMIND, T, "a", rows=[("a", T, T)]))) == ["remind"]


def test_a_proof_at_the_very_place_of_the_event_does_not_count() -> None:
    stranger = event(P + "of_next_year", T, "a", rows=[("a", T, None)])
    assert stranger.position[:3] == event(VIEWED, T, "a").position[:3]
    assert out(arrive(SequenceState(), stranger)) == ["of_next_year"]


def test_an_event_is_its_own_proof() -> None:
    view = event(VIEWED, T + 9, "a", rows=[("a", T + 4, None)])
    assert out(arrive(SequenceState(), view)) == ["viewed"]
    assert out(arrive(SequenceState(), event(SENT, T + 9, created_at=T))) == ["sent"]


@pytest.mark.parametrize(("age_s", "waits"), [(4 * DAY_S, True), (4 * DAY_S + 1, False)])
def test_a_proof_counts_up_to_four_days(age_s: int, waits: bool) -> None:  # noqa: FBT001
    decision = arrive(
        SequenceState(), event(SIGNED, T + age_s, "a", created_at=T, rows=[("a", None, T + age_s)])
    )
    assert out(decision) == ([] if waits else ["signed"])


def test_any_view_of_a_signature_satisfies_its_viewed_proof() -> None:
    """`last_viewed_at` is the last view's time; only some view can be told to have come."""
    state = after(event(VIEWED, T + 1, "a", rows=[("a", T + 1, None)]))
    assert out(arrive(state, event(SIGNED, T + 9, "a", rows=[("a", T + 7, T + 9)]))) == ["signed"]


def test_a_view_by_another_signer_does_not_satisfy_a_viewed_proof() -> None:
    state = after(event(VIEWED, T + 1, "b", rows=[("b", T + 1, None)]))
    assert out(arrive(state, event(SIGNED, T + 9, "a", rows=[("a", T + 7, T + 9)]))) == []


@pytest.mark.parametrize("related", [None, "edited-away"])
@pytest.mark.parametrize("kind", ["viewed", "signed"])
def test_an_event_of_an_unknown_signer_satisfies_one_open_proof_of_its_type(
    kind: str, related: str | None
) -> None:
    state = after(event(P + kind, T + 1, related, rows=[]))
    for signers, released in ((("a",), [DOWNLOADABLE]), (("a", "b"), [])):
        rows: list[Row] = [
            (name, T + 2, None) if kind == "viewed" else (name, None, T + 2) for name in signers
        ]
        decision = arrive(state, event(DOWNLOADABLE, T + 9, rows=rows))
        assert [each.arrival.type for each in decision.release] == released


@pytest.mark.parametrize(("strangers", "released"), [(2, ["downloadable"]), (1, [])])
def test_each_unknown_signer_satisfies_one_proof_more(strangers: int, released: list[str]) -> None:
    state = after(*(event(VIEWED, T + 1, None, name=str(number)) for number in range(strangers)))
    rows: list[Row] = [("a", T + 2, None), ("b", T + 3, None)]
    assert out(arrive(state, event(DOWNLOADABLE, T + 9, rows=rows))) == released


def test_an_unknown_viewer_satisfies_no_signed_proof() -> None:
    state = after(event(VIEWED, T + 1, None))
    assert out(arrive(state, event(DOWNLOADABLE, T + 9, rows=[("a", None, T + 2)]))) == []


def test_a_signature_id_that_looks_like_a_wildcard_stands_for_its_own_signer_only() -> None:
    state = after(event(VIEWED, T + 1, "x|*", rows=[("x|*", T + 1, None)]))
    assert out(arrive(state, event(SIGNED, T + 9, "a", rows=[("a", T + 7, T + 9)]))) == []


def test_a_row_with_an_empty_signature_id_is_no_signer() -> None:
    """An event without a related_signature_id is of an unknown signer, whatever the snapshot's rows say."""
    rows: list[Row] = [("", None, None), ("a", T + 1, None)]
    state = after(event(VIEWED, T + 1, None, rows=rows))
    assert out(arrive(state, event(DOWNLOADABLE, T + 9, rows=[("a", T + 1, None)]))) == ["downloadable"]


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


def test_waiting_is_measured_from_the_append() -> None:
    view = event(VIEWED, T + 2, "a", created_at=T)
    decision = step(SequenceState(), [(view, T + 5.0)], T + 20.0, POLICY)
    assert decision.wake_at == T + 35.0
    assert decision.state.held[0].since == T + 5.0


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


@pytest.mark.parametrize(
    "request_field",
    [None, "x", [], {"signatures": "x"}, {"signatures": [None, 1, {"signature_id": 7, "signed_at": 1}]}],
)
def test_a_snapshot_of_another_shape_proves_nothing(request_field: object) -> None:
    arrival = arrival_of(REMIND, T, None, "f", {"signature_request": request_field})
    assert (arrival.proofs, arrival.signatures) == ((), frozenset())


@pytest.mark.parametrize("time", [None, True, "1700000000", 1.7e9, -1, 10**40])
def test_a_time_of_another_type_or_beyond_the_event_proves_nothing(time: object) -> None:
    assert event(REMIND, T, created_at=time).proofs == ()


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
