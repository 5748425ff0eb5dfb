"""What a snapshot proves, and which event satisfies a proof."""

from __future__ import annotations

import pytest

from deedbox.shared.core.ordering import DAY_S, SequenceState
from deedbox.shared.core.snapshot import arrival_of
from tests.unit.core.ordering_events import (
    ALL_SIGNED,
    DOWNLOADABLE,
    REMIND,
    SENT,
    SIGNED,
    VIEWED,
    P,
    Row,
    T,
    after,
    arrive,
    event,
    out,
)


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
