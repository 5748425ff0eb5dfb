"""A commit claims what is ready next in the same call."""

from __future__ import annotations

from deedbox.shared.redis import keys
from tests.contract.conftest import LEASE_S, Store, section

UNIT = "act|x:a/1"
OTHER = "act|x:a/2"


def test_the_next_entry_of_a_busy_key_comes_with_the_commit_of_the_one_before(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    head, worked = store.claimed("a"), []
    while True:
        worked.append(head.entry)
        following, _ = store.commit_and_claim("a", section(head, "done", 0))
        if not following:
            break
        (head,) = following
    assert worked == [b"1", b"2", b"3"]


def test_what_is_claimed_with_a_commit_is_leased(store: Store) -> None:
    store.enqueue((UNIT, "1"), (OTHER, "2"))
    ((claimed,), _) = store.commit_and_claim("a", section(store.claimed("a"), "done", 0))
    assert store.claim_entry("b") is None
    store.now += LEASE_S + 1
    assert store.sweep()[0] == 1
    assert store.claimed("b").entry == claimed.entry


def test_units_that_wait_or_are_given_back_are_not_lost_to_the_claim(store: Store) -> None:
    store.enqueue((UNIT, "1"), (OTHER, "2"))
    waits, given_back = store.claimed("a"), store.claimed("a")
    following, _ = store.commit_and_claim(
        "a", section(waits, "wait", 60), section(given_back, "back", 0), at_most=9
    )
    assert [each.unit for each in following] == [given_back.unit]
    store.now += 61
    store.sweep()
    assert store.claimed("b").unit == waits.unit


def test_a_drainer_whose_commit_finds_nothing_is_idle(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    assert store.commit_and_claim("a", section(store.claimed("a"), "done", 0)) == ([], [])
    assert store.redis.zrange(keys.lane("default", "idle"), 0, -1) == [b"a"]


def test_no_bell_rings_for_what_the_commit_claims_itself(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    following, rung = store.commit_and_claim("a", section(store.claimed("a"), "done", 0))
    assert ([each.entry for each in following], rung) == ([b"2"], [])


def test_a_commit_whose_lease_is_lost_still_claims(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    stale = store.claimed("paused")
    store.now += LEASE_S + 1
    store.sweep()
    ((again,), _) = store.commit_and_claim("paused", section(stale, "done", 0))
    assert again.entry == b"1"


def test_the_next_shard_comes_with_the_release_of_the_one_before(store: Store) -> None:
    store.append((0, b"1"), (1, b"2"))
    first = store.shard("a")
    following, rung = store.release_and_claim("a", first, 1)
    assert following is not None
    assert ({*first.bodies, *following.bodies}, rung) == ({b"1", b"2"}, [])


def test_the_rest_of_a_shard_comes_with_its_release(store: Store) -> None:
    store.append((0, b"1"), (0, b"2"))
    following, _ = store.release_and_claim("a", store.shard("a", at_most=1), 1)
    assert following is not None
    assert following.bodies == [b"2"]


def test_a_release_whose_lease_is_lost_claims_nothing(store: Store) -> None:
    store.append((0, b"1"))
    stale = store.shard("paused")
    store.now += LEASE_S + 1
    store.sweep(keys.SEQUENCER)
    before = store.dump()
    assert store.release_and_claim("paused", stale, 1) == (None, [])
    assert store.dump() == before
