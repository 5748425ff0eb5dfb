"""Claiming raw callbacks: what a bridge does between the broker's list and the inbox."""

from __future__ import annotations

import pytest

from deedbox.shared.redis import keys
from deedbox.shared.redis.script_calls import RawClaim
from tests.component.workers.rig import members
from tests.contract.conftest import LEASE_S, Store


def test_callbacks_are_claimed_oldest_first(store: Store) -> None:
    store.publish(b"1", b"2", b"3")
    assert store.claim_raw("a", at_most=2) == [b"1", b"2"]
    assert store.claim_raw("b") == [b"3"]


def test_a_bridge_claims_nothing_while_it_holds_a_claim(store: Store) -> None:
    """While the state is away, each round would claim more, and read it all in one reply."""
    store.publish(b"1", b"2")
    store.claim_raw("a")
    store.publish(b"3")
    assert store.claim_raw("a") == [b"1", b"2"]
    assert store.redis.llen(keys.RAW_QUEUE) == 1


def test_a_claim_is_read_within_its_bounds_however_much_it_holds(store: Store) -> None:
    store.redis.lpush(keys.claimed("a"), *(b"%d" % number * 100 for number in range(5)))
    assert store.claim_raw("a", at_most=2) == [b"0" * 100, b"1" * 100]
    assert store.claim_raw("a", bytes_at_most=150) == [b"0" * 100, b"1" * 100]


def test_a_claim_stays_within_its_bounds(store: Store) -> None:
    store.publish(b"x" * 100, b"y" * 100, b"z" * 100)
    assert len(store.claim_raw("a", bytes_at_most=150)) == 2
    assert len(store.claim_raw("a", at_most=2)) == 2


def test_one_callback_larger_than_the_bound_is_claimed_all_the_same(store: Store) -> None:
    store.publish(b"x" * 1000)
    assert len(store.claim_raw("a", bytes_at_most=10)) == 1


@pytest.mark.parametrize("same_redis", [True, False], ids=["one redis", "two"])
def test_a_bridge_killed_between_claim_and_append_loses_nothing(store: Store, same_redis: bool) -> None:  # noqa: FBT001
    """Another bridge takes the claim over once its lease is over, in the order in which it came."""
    store.publish(b"1", b"2", b"3")
    store.claim_raw("killed", at_most=2)
    store.now += LEASE_S + 0.001
    assert store.restore_raw() == 2
    claimed = store.claim_raw("b")
    assert claimed == [b"1", b"2", b"3"]
    claim = RawClaim(keys.claimed("b"), 3, b"3")
    store.append(*((0, each) for each in claimed), claim=claim if same_redis else None)
    assert store.shard("s").bodies == [b"1", b"2", b"3"]
    assert bool(store.redis.exists(keys.claimed("b"))) is not same_redis


def test_what_a_late_move_adds_to_a_claim_is_not_dropped_with_it(store: Store) -> None:
    """The blocking move of a broken connection comes through between the claim and its append."""
    store.publish(b"1", b"2")
    assert store.claim_raw("b", at_most=1) == [b"1"]
    store.redis.lmove(keys.RAW_QUEUE, keys.claimed("b"), "RIGHT", "LEFT")
    store.append((0, b"1"), claim=RawClaim(keys.claimed("b"), 1, b"1"))
    assert b"2" in store.claim_raw("b")


def test_an_append_that_takes_effect_late_leaves_the_next_claim(store: Store) -> None:
    store.publish(b"1", b"2")
    store.claim_raw("b", at_most=1)
    for _ in range(2):  # sent again, because the connection broke; the first comes through last
        store.append((0, b"1"), claim=RawClaim(keys.claimed("b"), 1, b"1"))
        assert store.claim_raw("b") == [b"2"]


def test_a_claim_on_another_redis_is_dropped_by_the_same_rule(store: Store) -> None:
    store.publish(b"1", b"2")
    store.claim_raw("b")
    store.call("drop_raw", *RawClaim(keys.claimed("b"), 2, b"1"))
    assert store.claim_raw("b") == [b"1", b"2"], "this is not what was claimed"
    store.call("drop_raw", *RawClaim(keys.claimed("b"), 1, b"1"))
    assert store.claim_raw("b") == [b"2"]
    store.call("drop_raw", *RawClaim(keys.claimed("b"), 1, b"2"))
    assert store.claim_raw("b") == []


def test_a_batch_that_was_written_and_not_confirmed_is_confirmed_and_not_written_again(store: Store) -> None:
    batch = (keys.bridged("b"), "digest")
    for _ in range(3):
        store.append((0, b"1"), letters=(("reason", "undecodable", "raw", b"?"),), batch=batch)
    assert store.redis.llen(keys.inbox(0)) == 1
    assert store.redis.zcard(keys.DEAD) == 1


def test_another_batch_or_another_bridge_writes(store: Store) -> None:
    for batch in (("b", "1"), ("b", "2"), ("b", "1"), ("c", "1")):
        store.append((0, b"1"), batch=(keys.bridged(batch[0]), batch[1]))
    assert store.redis.llen(keys.inbox(0)) == 4


def test_a_message_that_is_on_the_list_twice_is_not_claimed_for_ever(store: Store) -> None:
    """A publish that timed out went through, and its callback was published once more from the spool."""
    store.publish(b"1", b"1")
    for _ in range(2):
        assert store.claim_raw("b", at_most=1) == [b"1"]
        store.append(
            (0, b"1"), claim=RawClaim(keys.claimed("b"), 1, b"1"), batch=(keys.bridged("b"), "digest")
        )
    assert store.claim_raw("b") == []


def test_a_claim_is_dropped_with_the_batch_that_it_was(store: Store) -> None:
    """The first append's answer was lost: its repeat finds no claim, and leaves what was claimed since."""
    store.publish(b"1")
    store.claim_raw("b")
    for _ in range(2):
        store.append(
            (0, b"1"), claim=RawClaim(keys.claimed("b"), 1, b"1"), batch=(keys.bridged("b"), "digest")
        )
    assert store.redis.llen(keys.inbox(0)) == 1
    assert not store.redis.exists(keys.claimed("b"))


def test_a_living_bridge_keeps_its_claim(store: Store) -> None:
    store.publish(b"1")
    for _ in range(5):
        assert store.claim_raw("a") == [b"1"]
        store.now += LEASE_S - 0.1
        assert store.restore_raw() == 0


def test_a_bridge_paused_beyond_its_lease_loses_nothing_by_claiming_again(store: Store) -> None:
    store.publish(b"1")
    store.claim_raw("paused")
    store.now += LEASE_S + 1
    store.restore_raw()
    assert store.claim_raw("paused") == [b"1"]


def test_a_bridge_that_claims_long_after_its_lease_and_is_killed_then_loses_nothing(store: Store) -> None:
    store.claim_raw("stopped")
    store.now += 3600
    store.restore_raw()
    store.publish(b"1")
    # Its blocking move comes through now, without a lease.
    store.redis.lmove(keys.RAW_QUEUE, keys.claimed("stopped"), "RIGHT", "LEFT")
    store.restore_raw()
    assert store.claim_raw("b") == [b"1"]


def test_dead_bridges_are_forgotten_after_a_day(store: Store) -> None:
    store.claim_raw("a")
    store.now += LEASE_S + 86_401
    store.restore_raw()
    assert store.redis.zcard(keys.BRIDGE_LEASES) == 0


def test_what_is_redriven_leaves_the_list_by_value(store: Store) -> None:
    """Another operator may have pushed in between, and another bridge may have read the same messages."""
    store.redis.rpush(keys.REDRIVE, b"1", b"2")
    store.redis.lpush(keys.REDRIVE, b"new")
    store.append((0, b"1"), redriven=(b"1",))
    assert store.redis.lrange(keys.REDRIVE, 0, -1) == [b"new", b"2"]
    store.append((0, b"1"), redriven=(b"1",))
    assert store.redis.lrange(keys.REDRIVE, 0, -1) == [b"new", b"2"]


def test_what_cannot_be_decoded_becomes_a_dead_letter_in_the_same_call(store: Store) -> None:
    store.append((3, b"good"), letters=(("reason", "undecodable", "raw", b"\xff"),))
    assert store.shard("s").bodies == [b"good"]
    [letter_id] = members(store.redis, keys.DEAD)
    letter = store.redis.hgetall(keys.dead(letter_id.decode()))
    assert (letter[b"reason"], letter[b"raw"], letter[b"at"]) == (b"undecodable", b"\xff", b"1000.000000")
    assert store.redis.hget(keys.COUNTERS, "quarantined") == b"1"


def test_the_first_append_asks_for_a_doorbell_and_a_waiting_doorbell_is_enough(store: Store) -> None:
    assert store.append((0, b"1")) is True
    store.redis.rpush("rq:queue:" + keys.rq_queue(keys.SEQUENCER), "job")
    assert store.append((1, b"2")) is False


def test_a_batch_without_entries_asks_for_none(store: Store) -> None:
    assert store.append(letters=(("reason", "undecodable"),)) is False
