"""Pauses and limits, as the scripts keep them: what may not begin is not claimed, rings no bell, and is not lost."""

from __future__ import annotations

import pytest

from deedbox.shared.records.subscriptions import Subscription
from deedbox.shared.redis import keys
from tests.contract.conftest import LANE, Store

ENTRY = "0" * 32 + '{"at":1}'
ONE, OTHER = "act|default:signature_request/r1", "act|sales:signature_request/r2"

PAUSES = [
    ("action|act", {"other|default:signature_request/r1"}),
    (f"lane|{LANE}", set()),
    ("source|default", {OTHER}),
    ("request|default:signature_request/r1", {OTHER}),
]
"""What is paused, and what may still be claimed."""


def pause(store: Store, target: str, stream: str = "") -> int:
    return int(store.call("pause", target, "somebody", "", 1000, stream)[0])


def resume(store: Store, target: str) -> None:
    store.redis.hdel(keys.PAUSED, target)


def claimable(store: Store) -> set[str]:
    """Claim until nothing is given any more."""
    found = set()
    while units := store.claim("w", 10):
        found |= {each.unit.decode() for each in units}
    return found


@pytest.mark.parametrize(("target", "open_ones"), PAUSES)
def test_what_is_paused_is_neither_claimed_nor_rung_for(
    store: Store, target: str, open_ones: set[str]
) -> None:
    pause(store, target)
    store.enqueue((ONE, ENTRY), (OTHER, ENTRY), ("other|default:signature_request/r1", ENTRY))
    paused = {ONE, OTHER, "other|default:signature_request/r1"} - open_ones
    if target.startswith(("source", "request")):
        paused = {ONE, "other|default:signature_request/r1"}

    assert claimable(store) == {ONE, OTHER, "other|default:signature_request/r1"} - paused
    assert not store.ring
    assert (store.sweep()[2], store.leave("w")) == (0, 1)
    assert store.depth() == store.entries_queued() == 3


@pytest.mark.parametrize(("target", "_open"), PAUSES)
def test_after_a_resume_all_of_it_is_claimed_and_a_sweep_rings(
    store: Store, target: str, _open: set[str]
) -> None:
    pause(store, target)
    store.enqueue((ONE, ENTRY), (OTHER, ENTRY))
    before = claimable(store)
    store.now += 30  # the drainers that waited have gone
    for unit in before:
        store.redis.zadd(keys.action("act", "leased"), {unit: store.now + 10})

    resume(store, target)

    assert store.sweep()[2] == 1
    assert before | claimable(store) == {ONE, OTHER}
    assert not store.redis.exists(keys.action("act", "parked"))


def test_a_unit_stays_parked_while_another_pause_keeps_it(store: Store) -> None:
    pause(store, "source|default")
    store.enqueue((ONE, ENTRY))
    assert claimable(store) == set()
    pause(store, "request|default:signature_request/r1")
    resume(store, "source|default")
    store.sweep()
    assert claimable(store) == set()
    resume(store, "request|default:signature_request/r1")
    store.sweep()
    assert claimable(store) == {ONE}


def test_more_units_than_one_call_parks_do_not_hide_another(store: Store) -> None:
    pause(store, "source|default")
    store.enqueue(*((f"act|default:signature_request/r{n}", ENTRY) for n in range(1200)), (OTHER, ENTRY))
    found: set[str] = set()
    for _ in range(4):
        found |= {each.unit.decode() for each in store.claim("w", 10)}
    assert found == {OTHER}
    resume(store, "source|default")
    for _ in range(3):
        store.sweep()
    assert store.redis.zcard(keys.action("act", "ready")) == 1200


def test_a_pause_is_kept_as_it_was_when_it_is_asked_for_again_and_bounded_in_number(store: Store) -> None:
    assert (pause(store, "action|act"), pause(store, "action|act")) == (1, 0)
    assert store.call("pause", "action|other", "somebody", "", 1, "") == [-1]
    store.redis.set(keys.erased("default:signature_request/r1"), "{}")
    stream = "default:signature_request/r1"
    assert pause(store, f"request|{stream}", stream) == -2


def test_an_erasure_takes_a_parked_unit_and_the_pause_of_the_request(store: Store) -> None:
    stream = "default:signature_request/r1"
    pause(store, f"request|{stream}", stream)
    store.enqueue((ONE, ENTRY))
    assert claimable(store) == set()
    store.call("erase", stream, 0, 100, "operator", 200, 0, 0)
    assert store.redis.zcard(keys.action("act", "parked")) == 0
    assert store.redis.hlen(keys.PAUSED) == 0


def test_calls_of_an_undeclared_action_can_be_ended_while_they_are_parked(store: Store) -> None:
    pause(store, "source|default")
    store.enqueue((ONE, ENTRY))
    assert claimable(store) == set()
    store.declare(Subscription("other", ("other",), LANE))
    assert store.call("end_calls", "act", 10, 1000, 50, 1000) == [1, 0]


def _limited(store: Store, rate: tuple[int, int] | None, concurrency: int | None) -> None:
    store.enqueue(
        *((f"act|default:signature_request/r{n}", ENTRY) for n in range(8)), ("other|default:a/b", ENTRY)
    )
    store.declare(
        Subscription("act", ("act",), LANE, True, rate, concurrency), Subscription("other", ("other",), LANE)
    )


def test_no_more_calls_run_at_a_time_than_the_concurrency_and_others_go_on(store: Store) -> None:
    _limited(store, None, 2)
    units = [each for n in range(8) for each in store.claim(f"w{n}", 4)]
    assert sorted(each.unit.decode().partition("|")[0] for each in units) == ["act", "act", "other"]
    assert not store.ring, "what may not begin rings no bell"
    assert store.sweep()[2] == 0
    store.finish(next(each for each in units if each.unit.decode().startswith("act|")), "done")
    store.now += 30
    assert store.sweep()[2] == 1, "its place is free"


def test_no_more_calls_begin_in_any_window_than_the_rate_allows(store: Store) -> None:
    _limited(store, (3, 60), None)
    begun: list[float] = []
    for _ in range(200):
        store.now += 1
        for unit in store.claim("w", 4):
            if unit.unit.decode().startswith("act|"):
                begun.append(store.now)
            store.finish(unit, "done")
    assert len(begun) == 8
    assert all(later - earlier >= 60 for earlier, later in zip(begun, begun[3:], strict=False))
    assert begun[3] - begun[0] <= 61, "and no later than it must"


def test_a_call_of_a_limited_action_is_claimed_alone_so_that_none_is_counted_and_given_back(
    store: Store,
) -> None:
    _limited(store, (100, 60), None)
    assert {len(store.claim("w", 8)) for _ in range(5)} == {1}
    assert store.redis.llen(keys.action("act", "calls")) == 5


def test_a_limit_that_the_next_deployment_leaves_out_is_gone(store: Store) -> None:
    _limited(store, None, 1)
    store.now += 1
    store.declare(Subscription("act", ("act",), LANE), Subscription("other", ("other",), LANE))
    assert not store.redis.exists(f"{keys.PREFIX}limits")
    assert len(store.claim("w", 20)) == 9
