"""Erasing a stream, against everything that may be under way at that moment."""

from __future__ import annotations

import json

import pytest

from deedbox.shared.redis import keys
from tests.contract.conftest import Operand, Shard, Store, Unit, emitted, queued

STREAM, OTHER = "default:signature_request/r1", "default:signature_request/r2"
FACT, LATE = "f" * 32, "e" * 32
ENTRY = FACT + "{}"
SHARD = 7


def _shard(store: Store) -> Shard:
    store.append((SHARD, b"callback"))
    return store.shard("sequencer")


def _release(store: Store, shard: Shard, *units: str, stream: str = STREAM, fact: str = FACT) -> None:
    store.release(
        shard, 1,
        ("S", stream, "state", "2000"), ("T", 1, "arrived"), ("C", "arrived", 1), ("C", "body_signature_valid", 1),
        ("F", fact, 999, 2, "body", "Jane"), ("B", fact + ":other", 999, 2, "body", "Jane too"), ("H", fact, 999),
        ("C", "held", 1), ("R", fact), ("C", "released", 1), ("D", 4, "reason", "too_old", "event", fact),
        *(queued(unit, fact + "{}") for unit in units),
    )  # fmt: skip


def _erase(store: Store, *letters: str, final: int = 1) -> list[int]:
    operands: list[Operand] = [len(letters), *letters, 0, "act", "loose"]
    reply: list[int] = store.call("erase", STREAM, SHARD, 1000, "operator", final, *operands)
    return reply


def _left(store: Store) -> set[str]:
    """Return the keys that name the stream, or one of its events or letters."""
    names = {key.decode() for key in store.redis.scan_iter()}
    about = ("r1", FACT, LATE, f"{keys.DEAD}:1", keys.HELD)
    return {name.removeprefix(keys.PREFIX) for name in names if any(part in name for part in about)}


def test_nothing_stays_but_the_tombstone(store: Store) -> None:
    _release(store, _shard(store), f"act|{STREAM}", f"loose|{STREAM}|{FACT}")
    assert _erase(store, "1") == [2, 2, 1, 0]
    assert _left(store) == {f"erased:{STREAM}"}
    assert json.loads(store.redis.get(keys.erased(STREAM)) or b"") == {"at": 1000.0, "by": "operator"}
    assert 0 < store.redis.ttl(keys.erased(STREAM)) <= 1000
    assert (store.depth(), store.redis.zcard(keys.DEAD), store.claim_entry("w")) == (0, 0, None)
    assert _erase(store, "1") == [0, 0, 0, 0]


def test_another_stream_keeps_everything(store: Store) -> None:
    _release(store, _shard(store), f"act|{OTHER}", stream=OTHER, fact=LATE)
    before = store.dump()
    _erase(store)
    assert store.dump().items() >= before.items()
    assert store.claimed("w").unit == f"act|{OTHER}".encode()


def test_a_release_that_was_prepared_before_the_erasure_writes_nothing(store: Store) -> None:
    """The sequencer had read the stream's state; its commit finds the tombstone."""
    shard = _shard(store)
    _erase(store)
    _release(store, shard, f"act|{STREAM}", fact=LATE)
    assert _left(store) == {f"erased:{STREAM}"}
    assert store.claim_entry("w") is None
    assert store.redis.zcard(keys.DEAD) == 0
    assert store.redis.zcard(f"{keys.PREFIX}wake:{SHARD}") == 0
    assert store.redis.hgetall(keys.COUNTERS) == {
        b"arrived": b"1", b"duplicate": b"1", b"body_signature_valid": b"1",
    }  # fmt: skip


def test_the_rest_of_that_commit_is_written(store: Store) -> None:
    shard = _shard(store)
    _erase(store)
    body = (("S", STREAM, "state", "2000"), ("T", 1, "gone"), ("S", OTHER, "state", ""), ("T", 1, "stays"))
    store.release(shard, 1, *body, ("F", LATE, 1, 2, "a", "b"), queued(f"act|{OTHER}", LATE))
    assert store.redis.lrange(keys.timeline(OTHER), 0, 0) == [b"stays"]
    assert store.redis.exists(keys.event(LATE))
    assert store.claimed("w").unit == f"act|{OTHER}".encode()
    assert not store.redis.exists(keys.timeline(STREAM))


def test_a_late_repeat_renews_the_tombstone(store: Store) -> None:
    _erase(store)
    store.redis.expire(keys.erased(STREAM), 5)
    _release(store, _shard(store))
    assert store.redis.ttl(keys.erased(STREAM)) > 5


def _run(store: Store, unit: str = f"act|{STREAM}") -> Unit:
    """Release an entry and begin its call."""
    _release(store, _shard(store), unit)
    return store.claimed("w")


@pytest.mark.parametrize("unit", [f"act|{STREAM}", f"loose|{STREAM}|{FACT}"])
@pytest.mark.parametrize("verb", ["done", "wait", "back"])
@pytest.mark.parametrize("final", [0, 1])
def test_a_call_that_ran_meanwhile_leaves_nothing_behind(
    store: Store, unit: str, verb: str, final: int
) -> None:
    running = _run(store, unit)
    _erase(store, "1", final=final)
    counters = store.redis.hgetall(keys.COUNTERS)
    refused = store.finish(
        running, verb, 5, *([("E", ENTRY + "again")] if verb == "wait" else []),
        ("S", STREAM), ("T", 1, "action"), ("F", LATE, 1, 2, "body", "Jane"), emitted(f"act|{STREAM}", LATE),
        ("C", "action_done", 1), ("D", 4, "reason", "rejected", "traceback", "Jane"),
    )[0]  # fmt: skip
    _erase(store, "1")
    assert refused == 0
    assert _left(store) == {f"erased:{STREAM}"}
    assert store.redis.zcard(keys.DEAD) == 0
    assert store.depth() == store.entries_queued() == 0
    assert store.redis.hgetall(keys.COUNTERS) == counters
    store.now += 10
    assert store.sweep()[0] == 0, "the lease has ended"
    assert store.claim_entry("w") is None


def test_the_action_that_erases_may_give_up_in_between_and_a_person_learns_it(store: Store) -> None:
    own = f"erase_destroyed|{STREAM}"
    running = _run(store, own)
    _erase(store, "1", final=0)
    store.finish(running, "done", 0, ("S", STREAM), ("D", 2, "reason", "retry_expired"))
    assert store.redis.zcard(keys.DEAD) == 2


def test_depths_count_what_is_left_wherever_a_unit_waits(store: Store) -> None:
    """Ready, leased or waiting for a retry."""
    units = [f"act|{STREAM}", f"loose|{STREAM}|{FACT}", f"loose|{STREAM}|{FACT}:other"]
    shard = _shard(store)
    store.release(
        shard, 1, ("S", STREAM, "s", ""), ("F", FACT, 1, 2, "a", "b"), ("B", FACT + ":other", 1, 2, "a", "b"),
        *(queued(unit, ENTRY) for unit in units for _ in range(2)),
        ("S", OTHER, "s", ""), queued(f"act|{OTHER}", ENTRY), queued(f"act|{OTHER}", ENTRY),
    )  # fmt: skip
    waits = store.claimed("w")
    store.finish(waits, "wait", 60)
    store.claimed("w")
    assert store.depth() == store.entries_queued() == 8
    assert _erase(store)[1] == 6
    assert store.depth() == store.entries_queued() == 2


@pytest.mark.parametrize("begun", [False, True])
def test_held_events_are_counted_as_erased(store: Store, begun: bool) -> None:  # noqa: FBT001
    """Every arrival is accounted for: released, a duplicate, or erased, also if it was due after the tombstone."""
    held = (("F", FACT, 1, 2, "a", "b"), ("H", FACT, 1))
    store.release(_shard(store), 1, ("S", STREAM, "s", "2000"), ("C", "arrived", 1), *held)
    if begun:
        _erase(store, final=0)
        store.release(_shard(store), 1, ("S", STREAM, "s", ""), ("R", FACT), ("C", "released", 1))
    assert _erase(store)[3] == 1
    assert store.redis.hget(keys.COUNTERS, "erased") == b"1"
    assert store.redis.zcard(keys.HELD) == store.redis.zcard(f"{keys.PREFIX}wake:{SHARD}") == 0


def test_an_action_cannot_remember_an_erased_stream(store: Store) -> None:
    assert store.call("remember", STREAM, "request", "model", 1000) == 1
    assert 0 < store.redis.ttl(keys.request(STREAM)) <= 1000
    _erase(store)
    assert store.call("remember", STREAM, "request", "model", 1000) == 0
    assert not store.redis.exists(keys.request(STREAM))
