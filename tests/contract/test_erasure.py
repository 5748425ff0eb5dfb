"""Erasing a stream, against everything that may be under way at that moment."""

from __future__ import annotations

import json
from typing import cast

import pytest
from redis import Redis

from deedbox.ops.readmodels import events
from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import text
from tests.contract.conftest import Shard, Store, Unit, emitted, queued

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


def _erase(store: Store, *letters: str, items: int = 300) -> list[int]:
    """Erase in pieces, until nothing is left. Returns what was removed; 0 items: only the tombstone is set."""
    removed = [0, 0, 0, 0]
    for _ in range(1000):
        done, *counts = store.call("erase", STREAM, SHARD, 1000, "operator", items, len(letters), *letters, 0)
        removed = [sum(pair) for pair in zip(removed, counts, strict=True)]
        if done or not items:
            return removed
    raise AssertionError("the erasure does not end")


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
    assert store.redis.lrange(keys.timeline(OTHER), 0, 0) == [b"1stays"]
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
    _erase(store, "1", items=300 * final)
    counters = store.redis.hgetall(keys.COUNTERS)
    refused = store.finish(
        running, verb, 5, *([("E", ENTRY + "again")] if verb == "wait" else []),
        ("T", 1, "action"), ("F", LATE, 1, 2, "body", "Jane"), emitted(f"act|{STREAM}", LATE),
        ("M", "done", 0, 5), ("D", 4, "reason", "rejected", "traceback", "Jane"),
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
    _erase(store, "1", items=0)
    store.finish(running, "done", 0, ("D", 2, "reason", "retry_expired"))
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
        _erase(store, items=0)
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


# --- in pieces ------------------------------------------------------------------------------------------


def _fill(store: Store, facts: int) -> None:
    """Release facts to all actions, with a dead letter for every tenth of them."""
    key = STREAM.partition(":")[2]
    for number in range(facts):
        fact = f"{number:032x}"
        letter = [("D", 6, "reason", "rejected", "event", fact, "key", key)] if number % 10 == 0 else []
        store.release(
            _shard(store), 1,
            ("S", STREAM, "state", ""), ("F", fact, 900, 2, "body", "Jane"), ("O", 1000, "{}", 1, fact, "signature_request_sent", b"entry"),
            *letter,
        )  # fmt: skip


def _letters(store: Store) -> list[str]:
    return sorted(text(each) for each in store.redis.smembers(keys.letters(STREAM.partition(":")[2])))


@pytest.mark.parametrize("items", [1, 7, 300])
def test_pieces_of_any_size_remove_everything(store: Store, items: int) -> None:
    _fill(store, 30)
    letters = _letters(store)
    assert len(letters) == 3
    removed = _erase(store, *letters, items=items)
    assert (removed[0], removed[2]) == (30, 3)
    assert _left(store) <= {f"erased:{STREAM}"}
    assert not list(store.redis.scan_iter(keys.event("*")))
    assert (_letters(store), store.redis.xlen(keys.EVENTS), store.entries_queued()) == ([], 0, 0)


def test_an_erasure_that_was_interrupted_is_finished_by_erasing_again(store: Store) -> None:
    _fill(store, 30)
    shard = _shard(store)
    store.call("erase", STREAM, SHARD, 1000, "operator", 5, 0, 0)
    assert 0 < store.redis.zcard(keys.seen(STREAM)) <= 30
    _release(store, shard, f"act|{STREAM}", fact=LATE)
    _erase(store, *_letters(store))
    assert _left(store) <= {f"erased:{STREAM}"}
    assert store.entries_queued() == 0


def test_events_that_only_their_calls_name_are_erased_and_their_names_end_if_the_erasure_does_not_go_on(
    store: Store,
) -> None:
    names = [f"{number:032x}" for number in range(30)]
    store.enqueue(*((f"loose|{STREAM}|{name}", name + "{}") for name in names))
    [done, *_] = store.call("erase", STREAM, SHARD, 1000, "operator", 30, 0, 0, *names)
    assert not done
    assert 0 < store.redis.ttl(keys.seen(STREAM)) <= 1000
    _erase(store)
    assert _left(store) <= {f"erased:{STREAM}"}
    assert store.entries_queued() == 0


def test_entries_that_wait_are_counted_by_stream_and_action(store: Store) -> None:
    """What an erasure and ``erase_destroyed`` ask: it must be exact at any moment."""
    store.enqueue((f"act|{STREAM}", ENTRY), (f"act|{STREAM}", LATE + "{}"), (f"loose|{STREAM}|{FACT}", ENTRY))
    assert store.redis.hgetall(keys.queued(STREAM)) == {b"act": b"2", b"loose": b"1"}
    for left in (2, 1, 0):
        store.finish(store.claimed("w"), "done")
        counted = store.redis.hgetall(keys.queued(STREAM))
        assert sum(map(int, counted.values())) == store.entries_queued() == left


def test_what_an_erasure_took_out_of_the_clean_stream_is_no_gap_to_its_readers(store: Store) -> None:
    redis = store.redis
    store.release(
        _shard(store),
        1,
        ("S", OTHER, "state", ""),
        ("F", LATE, 900, 2, "body", "x"),
        ("O", 9, "{}", 1, LATE, "t", CleanEntry(0, OTHER, LATE, "t", 5, "", late=False).dump()),
    )
    _fill(store, 3)
    other = "d" * 32
    store.release(
        _shard(store),
        1,
        ("S", OTHER, "state", ""),
        ("F", other, 900, 2, "body", "x"),
        ("O", 9, "{}", 1, other, "t", CleanEntry(0, OTHER, other, "t", 5, "", late=False).dump()),
    )
    _erase(store, *_letters(store))
    page = events.read(redis, events.START, events.EventFilter())
    assert [each["event"] for each in page.events] == [LATE, other]
    redis.xtrim(keys.EVENTS, maxlen=1, approximate=False)
    with pytest.raises(events.CursorExpired):
        events.read(redis, events.START, events.EventFilter())


@pytest.mark.real_redis
def test_the_work_of_one_call_does_not_grow_with_the_stream(state: Redis) -> None:
    """Counted in commands, because a time depends on the machine."""
    store = Store(state)
    _fill(store, 400)
    most = 0
    for _ in range(1000):
        before = _commands(state)
        [done, *_] = store.call("erase", STREAM, SHARD, 1000, "operator", 50, 0, 0)
        most = max(most, _commands(state) - before)
        if done:
            break
    assert most < 50 * 12


def _commands(redis: Redis) -> int:
    return sum(
        each["calls"] for each in cast("dict[str, dict[str, int]]", redis.info("commandstats")).values()
    )
