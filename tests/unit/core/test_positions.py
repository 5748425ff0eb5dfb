"""The place of an event: its time, then the causal rank of its type."""

from __future__ import annotations

import pytest

from tests.unit.core.ordering_events import DOWNLOADABLE, VIEWED, P, T, event

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
