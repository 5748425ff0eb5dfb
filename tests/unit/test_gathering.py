"""A stage pauses where work keeps coming in bits, and nowhere else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deedbox.workers.pacing import ENOUGH, IN_A_ROW, Gathering

MANY = 10_000
SMALL = st.integers(1, ENOUGH - 1)
RESTS = st.one_of(st.just(0), st.integers(ENOUGH, MANY))


@given(finds=st.lists(SMALL, min_size=IN_A_ROW, max_size=50))
def test_finds_of_a_few_in_a_row_lead_to_pauses(finds: list[int]) -> None:
    gathering = Gathering()
    pauses = [gathering.found(count, MANY) for count in finds]
    assert pauses == [False] * (IN_A_ROW - 1) + [True] * (len(finds) - IN_A_ROW + 1)


@given(before=st.lists(SMALL, max_size=20), rest=RESTS)
def test_whoever_finds_nothing_or_enough_goes_on_at_once(before: list[int], rest: int) -> None:
    gathering = Gathering()
    for count in before:
        gathering.found(count, MANY)
    assert not gathering.found(rest, MANY)
    assert [gathering.found(1, MANY) for _ in range(IN_A_ROW)] == [False] * (IN_A_ROW - 1) + [True]


@given(finds=st.lists(st.one_of(SMALL, RESTS), max_size=60))
def test_callbacks_that_come_one_by_one_are_never_held_up(finds: list[int]) -> None:
    """Between any two of them the stage finds nothing."""
    gathering = Gathering()
    assert not any(gathering.found(count, MANY) or gathering.found(0, MANY) for count in finds)


@given(finds=st.lists(SMALL, max_size=60))
def test_whoever_gets_all_that_it_asked_for_goes_on_at_once(finds: list[int]) -> None:
    """A lane with slow actions asks for one at a time; what it finds says nothing about what waits."""
    gathering = Gathering()
    assert not any(gathering.found(count, count) for count in finds)
