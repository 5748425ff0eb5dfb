"""Leasing shards of the inbox, and the sequencer's one commit."""

from __future__ import annotations

import pytest

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from tests.contract.conftest import LEASE_S, LINGER_S, Store, queued

SEQUENCER = keys.SEQUENCER


def test_a_leased_shard_is_nobody_elses(store: Store) -> None:
    store.append((0, b"1"))
    assert store.shard("a").bodies == [b"1"]
    assert store.claim_shard("b") is None


def test_entries_stay_until_the_commit(store: Store) -> None:
    store.append((0, b"1"), (0, b"2"), (0, b"3"))
    shard = store.shard("a", at_most=2)
    assert store.redis.llen(keys.inbox(0)) == 3
    store.release(shard, 2)
    assert store.shard("a").bodies == [b"3"]


def test_a_stale_token_writes_nothing(store: Store) -> None:
    store.append((0, b"1"))
    stale = store.shard("paused")
    store.now += LEASE_S + 1
    assert store.sweep(SEQUENCER)[0] == 1
    taken_over = store.shard("b")
    before = store.dump()
    everything = (
        ("S", "x:a/1", "state", "1"), ("F", "f" * 32, 1, 2, "head", "{}"), ("H", "f" * 32, 1), ("T", 1, "{}"),
        queued("act|x:a/1", "f" * 32), ("C", "released", 1), ("D", 2, "reason", "too_old"),
    )  # fmt: skip
    assert store.release(stale, 1, *everything) == [0]
    assert store.dump() == before
    assert store.release(taken_over, 1)[0] == 1


def test_a_token_of_before_a_failover_is_no_use_after_it(store: Store) -> None:
    store.append((0, b"1"), (0, b"2"))
    replicated = store.dump()
    lost = store.shard("a")
    store.redis.flushall()
    for key, value in replicated.items():
        store.redis.restore(key, 0, value)
    store.shard("b", at_most=1)
    assert store.release(lost, 2) == [0]
    assert store.redis.llen(keys.inbox(0)) == 2


def test_a_token_is_no_use_after_its_own_commit(store: Store) -> None:
    store.append((0, b"1"))
    shard = store.shard("a")
    store.release(shard, 1)
    store.append((0, b"2"))
    assert store.release(shard, 1) == [0]
    assert store.shard("b").bodies == [b"2"]


def test_what_is_appended_during_a_lease_makes_the_shard_ready_again(store: Store) -> None:
    store.append((0, b"1"))
    shard = store.shard("a")
    store.append((0, b"2"))
    assert b"sequencer" in store.release(shard, 1)
    assert store.shard("b").bodies == [b"2"]


def test_shards_are_taken_in_the_order_in_which_they_became_ready(store: Store) -> None:
    for shard in (5, 3, 9):
        store.append((shard, b"x"))
        store.now += 1
    assert [store.shard("a").unit for _ in range(3)] == [b"5", b"3", b"9"]


def test_a_shard_that_stays_busy_does_not_starve_the_others(store: Store) -> None:
    store.append((0, b"1"), (0, b"2"))
    store.now += 1
    store.append((1, b"3"))
    store.now += 1
    store.release(store.shard("a", at_most=1), 1)
    assert store.shard("a").unit == b"1"


def test_a_commit_is_everything_that_was_decided(store: Store) -> None:
    store.append((7, b"1"))
    shard = store.shard("a")
    fingerprint, stream = "f" * 32, "default:signature_request/1"
    store.release(
        shard, 1,
        ("S", stream, "state", "1030.5"), ("F", fingerprint, 999.5, 4, "0", "{}", "a", b"\x00"),
        ("H", fingerprint, 999.5), ("T", 1, "line"), ("C", "held", 2), ("D", 4, "reason", "too_old", "detail", "x"),
        queued("act|" + stream, fingerprint + "{}"),
    )  # fmt: skip
    redis = store.redis
    assert redis.get(keys.order(stream)) == b"state"
    assert redis.zscore(keys.seen(stream), fingerprint) == 999.5
    assert redis.hgetall(keys.event(fingerprint)) == {b"0": b"{}", b"a": b"\x00", b"open": b"2"}
    assert redis.zscore(keys.HELD, fingerprint) == 999.5
    assert redis.lrange(keys.timeline(stream), 0, -1) == [b"1line"]
    assert redis.hget(keys.COUNTERS, "held") == b"2"
    assert redis.zcard(keys.DEAD) == 1
    assert redis.zscore(f"{keys.PREFIX}wake:7", stream) == 1030.5
    assert 0 < redis.ttl(keys.timeline(stream)) <= 1000
    held = (keys.order(stream), keys.seen(stream), keys.event(fingerprint))
    assert [redis.ttl(key) for key in held] == [-1, -1, -1]
    head = store.claimed("w")
    assert (head.unit, head.entry) == (f"act|{stream}".encode(), f"{fingerprint}{{}}".encode())
    assert head.events == [(b"{}", b"\x00")]


def test_a_hold_that_is_over_wakes_its_shard_and_names_its_stream(store: Store) -> None:
    store.append((7, b"1"))
    store.release(store.shard("a"), 1, ("S", "x:a/1", "s", "1030"), ("S", "x:a/2", "s", "1040"))
    store.now = 1029.9
    store.sweep(SEQUENCER)
    assert store.claim_shard("a") is None
    store.now = 1030.0
    assert store.sweep(SEQUENCER)[2] in {0, 1}
    shard = store.shard("a")
    assert (shard.unit, shard.due, shard.bodies) == (b"7", [b"x:a/1"], [])
    store.release(shard, 0, ("S", "x:a/1", "s", ""))
    store.now = 1035
    store.sweep(SEQUENCER)
    assert store.claim_shard("a") is None


def test_a_hold_that_ran_out_during_the_lease_is_not_forgotten(store: Store) -> None:
    store.append((7, b"1"))
    shard = store.shard("a")
    store.now += 2
    reply = store.release(shard, 1, ("S", "x:a/1", "s", "1001"))
    assert b"sequencer" in reply
    assert store.shard("a").due == [b"x:a/1"]


def test_the_dedupe_memory_of_a_stream_is_bounded_by_age(store: Store) -> None:
    for fingerprint in ("old", "new"):
        store.append((0, b"1"))
        store.release(store.shard("a"), 1, ("S", "x:t/1", "", ""), ("F", fingerprint, store.now, 2, "a", "b"))
        store.now += 600
    store.append((0, b"1"))
    store.release(store.shard("a"), 1, ("S", "x:t/1", "", ""))
    assert store.redis.zrange(keys.seen("x:t/1"), 0, -1) == [b"new"]


def test_a_timeline_keeps_its_last_lines(store: Store) -> None:
    store.append((0, b"1"))
    lines = [("T", 1, str(number)) for number in range(60)]
    store.release(store.shard("a"), 1, ("S", "x:a/1", "s", ""), *lines)
    kept = store.redis.lrange(keys.timeline("x:a/1"), 0, -1)
    assert kept == [b"1%d" % number for number in range(10, 60)]


def test_an_operation_that_this_version_does_not_know_is_an_error(store: Store) -> None:
    store.append((0, b"1"))
    with pytest.raises(Unavailable):
        store.release(store.shard("a"), 1, ("?", "x"))


def test_a_drainer_that_found_nothing_counts_as_idle_for_a_while(store: Store) -> None:
    """Work that comes meanwhile rings its bell; when it was killed in its sleep, a doorbell is asked for again."""
    assert store.claim_shard("a") is None
    assert store.append((0, b"1")) is False
    assert store.redis.llen(keys.lane(SEQUENCER, "bell")) == 1
    store.now += LINGER_S + 0.001
    assert store.sweep(SEQUENCER) == [0, 0, 1]
