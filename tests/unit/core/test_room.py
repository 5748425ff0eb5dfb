"""When a Redis counts as full: early enough for its workers, and not with every batch anew."""

from __future__ import annotations

import pytest

from deedbox.shared.broker.fullness import RoomPolicy, fullness

POLICY = RoomPolicy(full_from=0.8, room_below=0.7)


def test_without_a_limit_nothing_is_ever_full() -> None:
    assert fullness({"used_memory": 10**12, "maxmemory": 0}) is None
    assert not POLICY.is_full(None, was_full=False)
    assert not POLICY.is_full(None, was_full=True)


def test_fullness_is_the_share_in_use() -> None:
    assert fullness({"used_memory": 25, "maxmemory": 100}) == 0.25


@pytest.mark.parametrize(
    ("share", "was_full", "full"),
    [
        (0.79, False, False),
        (0.80, False, True),
        (1.10, False, True),
        (0.79, True, True),
        (0.70, True, True),
        (0.69, True, False),
    ],
)
def test_what_was_full_must_empty_further_to_count_as_free(
    share: float, *, was_full: bool, full: bool
) -> None:
    assert POLICY.is_full(share, was_full=was_full) is full
