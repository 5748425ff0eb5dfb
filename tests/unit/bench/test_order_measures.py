"""What the order comparison counts."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.core.ordering import Position
from tests.bench.ordering.measures import Tally, behind, inversions, quantile
from tests.bench.ordering.policies import Release

TIMES = st.lists(st.integers(0, 6), max_size=12)


def release(event_time: int, added_s: float = 0.0, rank: int = 0) -> Release:
    return Release(Position(event_time, rank, "", ""), 1_760_000_000.25, 1_760_000_000.25 + added_s)


@given(TIMES)
def test_inversions_are_the_pairs_that_came_out_the_wrong_way_round(times: list[int]) -> None:
    assert inversions(times).pairs == sum(first > second for first, second in combinations(times, 2))


@given(TIMES)
def test_an_inverted_event_is_one_that_came_out_after_a_later_one(times: list[int]) -> None:
    late = [place for place, time in enumerate(times) if any(other > time for other in times[:place])]
    assert inversions(times).events == len(late)


def test_events_of_the_same_second_are_never_inverted() -> None:
    assert inversions([5, 5, 5]) == (0, 0)
    assert inversions([5, 7, 5, 5]) == (2, 2)


def test_behind_also_counts_causes_of_the_same_second() -> None:
    signed, all_signed = release(5, rank=4), release(5, rank=6)
    assert (behind([signed, all_signed]), behind([all_signed, signed])) == (0, 1)


def test_what_is_behind_moves_nothing() -> None:
    assert behind([release(9), release(3), release(5), release(10)]) == 2


def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.25, 0.5, 0.51, 0.99)] == [1, 2, 3, 4]


def test_a_summary_adds_up_all_requests() -> None:
    tally = Tally()
    tally.add([release(1), release(2, 3.0)])
    tally.add([release(2), release(1, 1.0)])
    summary = tally.summary()
    assert (summary.released, summary.inverted, summary.inverted_pairs, summary.behind) == (4, 250, 250, 250)
    assert (summary.mean_s, summary.p50_s, summary.p99_s, summary.max_s) == (1.0, 0.0, 3.0, 3.0)
    assert summary.held_share == 0.5


def test_a_merged_tally_counts_what_both_have() -> None:
    one, other, both = Tally(), Tally(), Tally()
    for tally, releases in ((one, [release(3), release(1, 0.5)]), (other, [release(1, 2.0)])):
        tally.add(releases)
        both.add(releases)
    one.merge(other)
    assert one.summary() == both.summary()
