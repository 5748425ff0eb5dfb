"""The index of all streams: whatever looks through the past, or through all data keys, looks there."""

from __future__ import annotations

from typing import Any

import pytest

from deedbox.shared.redis import keys
from deedbox.shared.redis.key_types import suspect
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.sweeper import foreign_keys
from deedbox.workers.sweeper.foreign_keys import ForeignKeys
from tests.contract.conftest import Store

STREAM = "default:signature_request/r1"
FACT = "f" * 32
LIFE_S = 1000
"""Of order state, in these tests."""


def _release(store: Store) -> None:
    store.append((0, b"callback"))
    store.release(store.shard("s"), 1, ("S", STREAM, "{}", ""), ("F", FACT, store.now, 2, "body", "x"))


def _indexed(store: Store) -> dict[bytes, float]:
    rows: Any = store.redis.zrange(keys.STREAMS, 0, -1, withscores=True)
    return dict(rows)


def test_a_stream_is_in_the_index_as_long_as_its_memory_is(store: Store) -> None:
    _release(store)
    assert _indexed(store) == {STREAM.encode(): store.now}
    store.now += LIFE_S + 1
    store.sweep(keys.SEQUENCER)
    assert _indexed(store) == {STREAM.encode(): store.now}, "its memory is still there"
    store.redis.delete(keys.seen(STREAM))
    store.sweep(keys.SEQUENCER)
    assert _indexed(store), "it was noted a moment ago"
    store.now += LIFE_S + 1
    store.sweep(keys.SEQUENCER)
    assert _indexed(store) == {}


def test_a_stream_is_in_the_index_as_long_as_its_data_key_is(store: Store) -> None:
    """A dead letter keeps the key for longer than the memory: a rotation must find it."""
    store.call("data_keys", LIFE_S, "ring", STREAM, "id", "wrapped")
    store.now += LIFE_S + 1
    store.sweep(keys.SEQUENCER)
    assert _indexed(store) == {STREAM.encode(): store.now}


def test_a_sweep_takes_more_than_one_call_for_many_streams(store: Store) -> None:
    store.redis.zadd(keys.STREAMS, {f"default:signature_request/{n}": 1.0 for n in range(1200)})
    store.now += LIFE_S + 1
    store.sweep(keys.SEQUENCER)
    assert _indexed(store) == {}


def test_an_erased_stream_is_not_in_the_index(store: Store) -> None:
    _release(store)
    store.call("erase", STREAM, 0, LIFE_S, "operator", 100, 0, 0)
    assert _indexed(store) == {}
    _release(store)
    store.call("note_streams", STREAM)
    assert _indexed(store) == {}


def test_a_lost_index_is_made_anew(store: Store) -> None:
    _release(store)
    store.call("data_keys", LIFE_S, "ring", "default:fax/f1", "id", "wrapped")
    store.redis.set(keys.archive("default:signature_request/quiet"), "archived")
    store.redis.set(keys.STREAMS, "another program wrote this")
    foreign = ForeignKeys(Scripts(store.redis))
    foreign.look()
    assert set(_indexed(store)) == {STREAM.encode(), b"default:fax/f1", b"default:signature_request/quiet"}
    assert not store.redis.exists(keys.FOREIGN_SUSPECTED)


def test_a_walk_through_all_keys_goes_on_over_several_looks_and_restarts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle, another sweeper walks from the beginning: the mark stays until one came to the end."""
    monkeypatch.setattr(foreign_keys, "PIECE", 20)
    store.redis.mset({f"{keys.PREFIX}anything:{n}": "" for n in range(600)})
    store.redis.set(keys.order(STREAM), "ours is a string, too")
    store.redis.set(keys.seen(STREAM), "ours is a sorted set")
    suspect(store.redis)
    ForeignKeys(Scripts(store.redis)).look()
    assert store.redis.exists(keys.FOREIGN_SUSPECTED)
    foreign, looks = ForeignKeys(Scripts(store.redis)), 0
    while store.redis.exists(keys.FOREIGN_SUSPECTED):
        foreign.once()
        looks += 1
    assert looks > 1
    assert store.redis.zrange(keys.FOREIGN, 0, -1) == [keys.seen(STREAM).encode()]


def test_a_suspicion_during_a_walk_gets_a_walk_of_its_own(store: Store) -> None:
    foreign = ForeignKeys(Scripts(store.redis))
    suspect(store.redis)
    walked = foreign._redis.scan

    def scan(*args: object, **named: object) -> object:
        suspect(store.redis)
        return walked(*args, **named)

    foreign._redis.scan = scan
    foreign.look()
    assert store.redis.exists(keys.FOREIGN_SUSPECTED)
