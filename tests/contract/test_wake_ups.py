"""Drainers that wait for work are woken, and doorbells ask for others: no work stays, and no bell piles up."""

from __future__ import annotations

from typing import Any

from deedbox.shared.redis import keys
from tests.contract.conftest import LANE, LINGER_S, Store, queued

UNIT = "act|x:a/1"
OTHER = "act|x:a/2"


def _releases(*entries: tuple[str, str]) -> list[tuple[Any, ...]]:
    """Make a release of entries of several streams."""
    return [
        each for unit, entry in entries for each in (("S", unit.split("|")[1], "", ""), queued(unit, entry))
    ]


def _ring(store: Store) -> None:
    """Let a doorbell wait in RQ."""
    store.redis.rpush("rq:queue:" + keys.rq_queue(LANE), "job")


def test_a_drainer_does_not_leave_while_work_is_ready_without_a_successor(store: Store) -> None:
    """The last look found nothing, then work came and saw an idle drainer, then the drainer leaves."""
    assert store.claim_entry("a") is None
    store.enqueue((UNIT, "1"))
    assert store.leave("a") == 2
    _ring(store)
    assert store.leave("a") == 1


def test_a_drainer_leaves_when_another_one_was_woken(store: Store) -> None:
    assert [store.claim_entry(drainer) for drainer in "ab"] == [None, None]
    store.enqueue((UNIT, "1"))
    assert store.leave("a") == 1
    assert store.redis.llen(keys.lane(LANE, "bell")) >= 1


def test_a_drainer_that_left_counts_no_more_as_idle(store: Store) -> None:
    store.claim_entry("a")
    assert store.leave("a") == 1
    store.append((0, b"callback"))
    reply = store.release(store.shard("s"), 1, *_releases((UNIT, "1")))
    assert LANE.encode() in reply


def test_whoever_takes_work_asks_for_help_if_more_is_ready(store: Store) -> None:
    store.enqueue((UNIT, "1"), (OTHER, "2"))
    store.claimed("a")
    assert store.ring is True
    store.claimed("b")
    assert store.ring is False


def test_idle_drainers_are_woken_before_anyone_is_asked_for(store: Store) -> None:
    assert [store.claim_entry(drainer) for drainer in "ab"] == [None, None]
    store.append((0, b"callback"))
    both = _releases((UNIT, "1"), (OTHER, "2"))
    assert LANE.encode() not in store.release(store.shard("s"), 1, *both)


def test_bells_do_not_pile_up(store: Store) -> None:
    store.claim_entry("a")
    for number in range(20):
        store.enqueue((f"act|x:a/{number}", "1"))
    assert store.redis.llen(keys.lane(LANE, "bell")) == 1


def test_the_sweeper_makes_up_for_a_doorbell_that_a_crash_swallowed(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    assert store.sweep() == [0, 0, 1]
    _ring(store)
    assert store.sweep() == [0, 0, 0]


def test_an_idle_drainer_that_was_killed_delays_work_by_seconds_only(store: Store) -> None:
    store.claim_entry("killed")
    store.enqueue((UNIT, "1"))
    assert store.sweep() == [0, 0, 0]
    store.now += LINGER_S + 0.001
    assert store.sweep() == [0, 0, 1]


def test_sweeping_an_empty_lane_does_nothing(store: Store) -> None:
    assert store.sweep() == [0, 0, 0]
