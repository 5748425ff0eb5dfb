"""Archiving and restoring a stream: on every server the same, beside everything that may be under way at that moment."""

from __future__ import annotations

from typing import Any

from deedbox.shared.archives.archiving import Archivist
from deedbox.shared.archives.restoring import restore
from deedbox.shared.core.identity import shard_of
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Scripts
from tests.contract.conftest import Store, queued

STREAM = "default:signature_request/r1"
FACT = "a" * 32
SHARD = shard_of(STREAM)
QUIET_S = 60
LIFE_S = 1000


def _release(store: Store, *more: Any) -> None:
    store.append((SHARD, b"callback"))
    store.release(
        store.shard("sequencer"), 1,
        ("S", STREAM, "state", ""), ("T", 1, FACT), ("F", FACT, 999, 4, "source", "Jane", "clean", "1-0 1"),
        ("B", FACT + ":other", 999, 2, "source", "Jane too"), *more,
    )  # fmt: skip
    store.redis.set(keys.request(STREAM), b"model", ex=LIFE_S)
    store.redis.hset(keys.finds(STREAM), "term", "1")
    store.redis.expire(keys.finds(STREAM), LIFE_S)


def _archive(store: Store) -> bool:
    Archivist(Scripts(store.redis), QUIET_S).once()
    return bool(store.redis.exists(keys.archive(STREAM)))


def _restore(store: Store) -> int:
    return restore(Scripts(store.redis), (STREAM,))


def _held(store: Store) -> dict[str, Any]:
    """Return what the stream's keys hold, and whether each has an end."""
    redis: Any = store.redis
    events = sorted(name.decode() for name in redis.scan_iter(keys.event("*")))
    held = {
        "seen": redis.zrange(keys.seen(STREAM), 0, -1, withscores=True),
        "timeline": redis.lrange(keys.timeline(STREAM), 0, -1),
        "values": redis.mget(keys.order(STREAM), keys.request(STREAM)),
        "finds": redis.hgetall(keys.finds(STREAM)),
        "events": {name: {k: v for k, v in redis.hgetall(name).items() if k != b"open"} for name in events},
    }
    names = (keys.seen, keys.timeline, keys.order, keys.request, keys.finds)
    return held | {
        "ends": [0 < redis.ttl(each) <= LIFE_S + 1 for each in [*(name(STREAM) for name in names), *events]]
    }


def test_what_is_restored_is_what_was_archived(store: Store) -> None:
    _release(store)
    before = _held(store)
    assert all(before["ends"])
    assert _archive(store)
    assert 0 < store.redis.ttl(keys.archive(STREAM)) <= LIFE_S + 1
    assert not store.redis.exists(
        keys.seen(STREAM), keys.timeline(STREAM), keys.event(FACT), keys.request(STREAM)
    )
    assert _restore(store) == 1
    assert _held(store) == before
    assert not store.redis.exists(keys.archive(STREAM))
    assert _restore(store) == 0


def test_nothing_is_archived_that_waits_for_a_call(store: Store) -> None:
    _release(store, queued(f"act|{STREAM}", FACT + "{}"))
    assert not _archive(store)
    store.finish(store.claimed("w"), "done")
    store.redis.zadd(keys.QUIET, {STREAM: 0})
    assert _archive(store)


def test_nothing_is_archived_beside_a_leased_shard(store: Store) -> None:
    """Its sequencer has read the stream, and writes it in a later call."""
    _release(store)
    store.append((SHARD, b"callback"))
    shard = store.shard("sequencer")
    assert not _archive(store)
    store.release(shard, 1)
    store.redis.zadd(keys.QUIET, {STREAM: 0})
    assert _archive(store)


def test_what_was_written_beside_an_archive_counts(store: Store) -> None:
    _release(store)
    assert _archive(store)
    store.redis.set(keys.request(STREAM), b"a later model", ex=LIFE_S)
    store.redis.rpush(keys.timeline(STREAM), b"a later line")
    assert _restore(store) == 1
    assert store.redis.get(keys.request(STREAM)) == b"a later model"
    lines: Any = store.redis.lrange(keys.timeline(STREAM), 0, -1)
    assert (len(lines), lines[-1]) == (2, b"a later line")


def test_an_erased_stream_is_not_archived_and_its_archive_is_erased(store: Store) -> None:
    _release(store)
    assert _archive(store)
    store.call("erase", STREAM, SHARD, 1000, "operator", 0, 0, 0)
    assert _restore(store) == 1
    store.redis.zadd(keys.QUIET, {STREAM: 0})
    assert not _archive(store)
    assert store.call("erase", STREAM, SHARD, 1000, "operator", 300, 0, 0)[:2] == [1, 2]
    assert {name.decode() for name in store.redis.scan_iter(f"*{STREAM}*")} == {keys.erased(STREAM)}


def test_a_replay_does_not_take_an_archived_stream_for_an_empty_one(store: Store) -> None:
    _release(store)
    store.redis.set(keys.replay(1), b"order")
    call = (1, 1000, 1000, STREAM, "", "mark", FACT, 1, "default", f"act|{STREAM}", FACT + "{}")
    assert _archive(store)
    assert store.call("replay", *call) == [-4]
    assert not store.redis.exists(keys.replay_done(1))
    _restore(store)
    assert store.call("replay", *call)[0] == 0
    assert store.depth() == 1
