"""What the sequencer cannot trust costs one request, never a shard: an unreadable state, an entry in the wrong shard."""

from __future__ import annotations

from typing import cast

import pytest
from redis import Redis

from deedbox.ops.repair.deadletters import DeadLetters, Selection
from deedbox.ops.repair.redrive import Redriver
from deedbox.shared.core.identity import SHARDS, shard_of
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.redis import inbox, keys
from tests.component.workers.rig import Deployment, Journal, action, envelope, sent, silent, viewed

pytestmark = pytest.mark.real_redis

STREAM = "default:signature_request/r1"


def same_shard() -> str:
    """Return another request whose stream lies in the same shard."""
    wanted = shard_of(STREAM)
    return next(f"n{n}" for n in range(999) if shard_of(f"default:signature_request/n{n}") == wanted)


def wrong_shard() -> int:
    return (shard_of(STREAM) + 1) % SHARDS


def deploy(state: Redis, journal: Journal) -> Deployment:
    return Deployment(state, action(journal), order=OrderingPolicy(hold_s=30))


@pytest.mark.parametrize(
    "poison", [b"", b"\xff\x00", b"[]", b"{}", b"null", b"[[],null]", b'[[["x"]],1,2,3,4,5]']
)
def test_an_unreadable_state_isolates_its_request_and_the_shard_goes_on(
    state: Redis, journal: Journal, poison: bytes
) -> None:
    state.set(keys.order(STREAM), poison or b" ")
    other = same_shard()
    deployment = deploy(state, journal)
    deployment.deliver(sent(), sent(), sent(request_id=other))
    deployment.run()
    assert (journal.types(), journal.types(other)) == ([], ["sent"])
    assert deployment.reasons() == ["state_unreadable"]
    assert deployment.counters()["duplicate"] == 1
    assert deployment.left() == 0
    assert state.get(keys.order(STREAM)) == (poison or b" ")


def test_what_an_unreadable_state_held_becomes_dead_letters_once(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(viewed(5), viewed(7))
    deployment.run()
    assert state.zcard(keys.HELD) == 2
    state.set(keys.order(STREAM), b"?")
    for name in (b"wake:" + str(shard_of(STREAM)).encode(),):
        state.zadd(keys.PREFIX.encode() + name, {STREAM: 1})
    deployment.sweeper.once()
    deployment.run()
    deployment.deliver(viewed(9))
    deployment.run()
    assert deployment.reasons() == ["state_unreadable"] * 3
    assert state.zcard(keys.HELD) == 0
    assert journal.types() == []


def test_a_redrive_begins_a_new_order(state: Redis, journal: Journal) -> None:
    state.set(keys.order(STREAM), b"?")
    deployment = deploy(state, journal)
    deployment.deliver(sent(), viewed(5))
    deployment.run()
    redriver = Redriver(deployment.scripts, silent)
    letters = DeadLetters(deployment.scripts).select(Selection())
    assert redriver.carry_out(redriver.plan(letters)).redriven == 2
    load = inbox.Load()
    for message in cast("list[bytes]", state.lrange(keys.REDRIVE, 0, -1)):
        load.add_message(message)
    inbox.append(deployment.scripts, load)
    deployment.run()
    assert journal.types() == ["sent", "viewed"]
    deployment.deliver(viewed(9))
    deployment.run()
    assert journal.types() == ["sent", "viewed", "viewed"]


def test_an_entry_in_the_wrong_shard_is_moved_and_processed_once(state: Redis, journal: Journal) -> None:
    """Two shards that write one state would each undo what the other wrote."""
    deployment = deploy(state, journal)
    load = inbox.Load()
    load.add(envelope(viewed(5)))
    load.entries = [(wrong_shard(), entry) for _, entry in load.entries]
    inbox.append(deployment.scripts, load)
    deployment.deliver(viewed(7))
    deployment.drain()
    assert state.zcard(keys.HELD) == 2
    deployment.deliver(sent())
    deployment.run()
    assert journal.types() == ["sent", "viewed", "viewed"]
    assert deployment.counters()["misplaced"] == 1
    assert state.zcard(keys.HELD) == 0


@pytest.mark.parametrize("name", [STREAM.encode(), b"\xff\xfe"])
def test_a_wake_up_in_the_wrong_shard_ends_there(state: Redis, journal: Journal, name: bytes) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(viewed(5))
    deployment.run()
    wake = f"{keys.PREFIX}wake:{wrong_shard()}"
    state.zadd(wake, {name: 1})
    deployment.sweeper.once()
    deployment.drain()
    assert state.zcard(wake) == 0
    assert state.zcard(keys.HELD) == 1


def test_a_shard_that_is_no_number_moves_what_it_holds(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    load = inbox.Load()
    load.add(envelope(sent()))
    load.entries = [("poison", entry) for _, entry in load.entries]  # type: ignore[misc]
    inbox.append(deployment.scripts, load)
    deployment.run()
    assert journal.types() == ["sent"]


def test_the_memory_of_a_stream_without_an_end_is_trimmed_by_age(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(sent())
    deployment.drain()
    state.zadd(keys.seen(STREAM), {"0" * 32: 5.0, "1" * 32: 6.0})
    deployment.deliver(viewed(5))
    deployment.drain()
    assert state.zcard(keys.seen(STREAM)) == 2
