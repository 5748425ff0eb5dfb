"""How many entries a lane claims at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deedbox.workers.lanes.sizes import BATCH_MAX, FAST_CALL_S, next_size

SIZES = st.integers(1, BATCH_MAX)


@given(size=SIZES, calls=st.integers(1, BATCH_MAX))
def test_slow_calls_are_claimed_one_by_one(size: int, calls: int) -> None:
    assert next_size(size, calls, calls * FAST_CALL_S * 1.01) == 1


@given(size=SIZES)
def test_full_batches_of_fast_calls_grow_up_to_a_bound(size: int) -> None:
    assert next_size(size, size, 0.0) == min(BATCH_MAX, size * 2)


@given(waiting=st.integers(1, BATCH_MAX), size=SIZES)
def test_the_size_settles_a_little_above_what_there_is(waiting: int, size: int) -> None:
    for _ in range(20):
        size = next_size(size, min(waiting, size), 0.0)
    assert waiting <= size <= max(1, 2 * waiting) or (size == BATCH_MAX and waiting >= BATCH_MAX // 2)
