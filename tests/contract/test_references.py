"""A stored event lives as long as something waits for it: an entry of a queue, a dead letter, a hold."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

import pytest

from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import Operand
from tests.contract.conftest import ACTIONS, LANE, LEASE_S, Store, emitted, queued

STREAM: Final = "default:signature_request/r1"
FACTS: Final = tuple(digit * 32 for digit in "abc")
PLAIN: Final = (4, "0", "facts", "a", "body")
"""Fields of an event that has nothing but facts and body."""

RETENTION_S: Final = 1000
"""What every script of these tests is told."""


def _fact(fingerprint: str, *operations: tuple[Operand, ...]) -> tuple[tuple[Operand, ...], ...]:
    wake_at = "2000" if any(operation[0] == "H" for operation in operations) else ""
    return (("S", STREAM, "state", wake_at), ("N", 1, fingerprint, 999, "facts", "body"), *operations)


def _release(store: Store, *operations: tuple[Operand, ...]) -> None:
    store.append((0, b"callback"))
    store.release(store.shard("sequencer"), 1, *operations)


def _entry(fingerprint: str, action: str = "act") -> tuple[Operand, ...]:
    return queued(f"{action}|{STREAM}", fingerprint + "{}")


def _letter(fingerprint: str) -> tuple[Operand, ...]:
    return ("D", 4, "reason", "rejected", "event", fingerprint)


def _waiting(redis: Any) -> Counter[str]:
    """Count what names each event, by looking everywhere."""
    named = [entry[:32] for queue in redis.scan_iter(keys.queue("*")) for entry in redis.lrange(queue, 0, -1)]
    named += [
        redis.hget(keys.dead(number.decode()), "event") or b"" for number in redis.zrange(keys.DEAD, 0, -1)
    ]
    named += redis.zrange(keys.HELD, 0, -1)
    return Counter(name.decode() for name in named)


def _check(store: Store) -> None:
    waiting = _waiting(store.redis)
    for fingerprint in FACTS:
        event = keys.event(fingerprint)
        if not store.redis.exists(event):
            assert not waiting[fingerprint], "an event is gone that something waits for"
            continue
        assert int(store.redis.hget(event, "open") or 0) == waiting[fingerprint]
        assert (store.redis.ttl(event) == -1) == (waiting[fingerprint] > 0)


def test_a_fact_that_no_action_wants_ends_with_its_retention(store: Store) -> None:
    _release(store, *_fact(FACTS[0]))
    assert 0 < store.redis.ttl(keys.event(FACTS[0])) <= RETENTION_S


def test_another_body_of_an_unknown_fact_leaves_nothing_without_an_end(store: Store) -> None:
    _release(store, ("S", STREAM, "state", ""), ("B", FACTS[0] + ":other", 999, *PLAIN))
    assert store.redis.hget(keys.event(FACTS[0]), "bodies") == b"1"
    for name in (FACTS[0], FACTS[0] + ":other"):
        assert 0 < store.redis.ttl(keys.event(name)) <= RETENTION_S


def test_a_fact_and_other_bodies_of_it_may_come_in_one_commit(store: Store) -> None:
    fact = FACTS[0]
    better = ("Y", fact, "worse", 999, "sent", "", 4, "0", "better facts", "a", "better body")
    _release(
        store,
        *_fact(fact, ("B", fact + ":other", 999, *PLAIN), better, ("O", 9, "{}", 1, fact, "act", "said")),
    )
    redis: Any = store.redis
    kept = {name: redis.hgetall(keys.event(name)) for name in (fact, f"{fact}:other", f"{fact}:worse")}
    clean = kept[fact].pop(b"clean")
    assert kept == {
        fact: {b"0": b"better facts", b"a": b"better body", b"bodies": b"1", b"open": b"1"},
        f"{fact}:other": {b"0": b"facts", b"a": b"body", b"open": b"0"},
        f"{fact}:worse": {b"0": b"facts", b"a": b"body", b"open": b"0"},
    }
    assert clean.split()[0] == redis.xrange(keys.EVENTS)[0][0]
    _check(store)


def test_the_retention_begins_with_the_last_outcome(store: Store) -> None:
    _release(store, *_fact(FACTS[0], _entry(FACTS[0]), _entry(FACTS[0], "other")))
    for left in (1, 0):
        assert store.redis.ttl(keys.event(FACTS[0])) == -1
        store.finish(store.claimed("w"), "done")
        assert store.redis.hget(keys.event(FACTS[0]), "open") == str(left).encode()
    assert 0 < store.redis.ttl(keys.event(FACTS[0])) <= RETENTION_S


def test_a_retry_changes_nothing_about_what_waits(store: Store) -> None:
    _release(store, *_fact(FACTS[0], _entry(FACTS[0])))
    store.finish(store.claimed("w"), "wait", 5, ("E", FACTS[0] + '{"retries":1}'))
    _check(store)


def test_a_fact_that_comes_again_after_its_memory_does_not_end_what_a_dead_letter_keeps(store: Store) -> None:
    _release(store, *_fact(FACTS[0], _letter(FACTS[0])))
    store.redis.delete(keys.seen(STREAM))
    _release(store, *_fact(FACTS[0], _entry(FACTS[0])))
    store.finish(store.claimed("w"), "done")
    assert store.redis.ttl(keys.event(FACTS[0])) == -1
    assert store.call("discard", RETENTION_S, "1") == 1
    assert store.redis.ttl(keys.event(FACTS[0])) > 0


def test_what_is_held_ends_with_its_release_and_not_before(store: Store) -> None:
    """The sequencer may be down for longer than any retention; the order state holds what is held."""
    kept = (keys.order(STREAM), keys.seen(STREAM), keys.event(FACTS[0]))
    _release(store, *_fact(FACTS[0], ("H", FACTS[0], 999)))
    assert [store.redis.ttl(key) for key in kept] == [-1, -1, -1]
    _release(store, ("S", STREAM, "state", ""), ("R", FACTS[0]))
    assert all(0 < store.redis.ttl(key) <= RETENTION_S for key in kept)


def test_an_erasure_finds_events_that_only_a_queue_still_names(store: Store) -> None:
    _release(store, *_fact(FACTS[0], _entry(FACTS[0])))
    store.redis.delete(keys.seen(STREAM))
    _, events, entries, *_ = store.call("erase", STREAM, 0, 1000, "operator", 300, 0, 0)
    assert (events, entries, store.redis.exists(keys.event(FACTS[0]))) == (1, 1, 0)


def test_an_outcome_after_an_erasure_leaves_no_rest_of_the_event(store: Store) -> None:
    _release(store, *_fact(FACTS[0], _entry(FACTS[0])))
    running = store.claimed("w")
    store.redis.delete(keys.event(FACTS[0]))
    store.finish(running, "done", 0, _letter(FACTS[0]))
    assert not store.redis.exists(keys.event(FACTS[0]))


class Acts:
    """Everything that adds or ends what waits for an event; each method but ``names`` is one act."""

    def __init__(self, store: Store, drawn: Random) -> None:
        self._store = store
        self._redis: Any = store.redis
        self._drawn = drawn

    @classmethod
    def names(cls) -> list[str]:
        return sorted(name for name in vars(cls) if not name.startswith("_") and name != "names")

    def release(self) -> None:
        fact = self._fact()
        _release(self._store, *_fact(fact, _entry(fact), _entry(fact, "other")))

    def hold(self) -> None:
        fact = self._fact()
        _release(self._store, *_fact(fact, ("H", fact, 999)))

    def let_go(self) -> None:
        for held in self._redis.zrange(keys.HELD, 0, -1):
            fact = held.decode()
            _release(self._store, ("S", STREAM, "state", ""), ("R", fact), _entry(fact))

    def done(self) -> None:
        self._finish()

    def dead(self) -> None:
        self._finish(letter=True)

    def emit(self) -> None:
        fact = self._fact()
        self._finish(("F", fact, 999, *PLAIN), emitted(f"hook|{STREAM}", fact + "{}"))

    def lose(self) -> None:
        if self._store.claim_entry("killed") is not None:
            self._store.now += LEASE_S + 1
            self._store.call("sweep", LANE, 0, 500, 1, 50, 1000, RETENTION_S, 20, *ACTIONS)

    def discard(self) -> None:
        self._store.call("discard", RETENTION_S, *self._letters())

    def redrive(self) -> None:
        for letter in self._letters():
            entry = self._redis.hget(keys.dead(letter), "event").decode() + "{}"
            self._store.call("redrive", letter, RETENTION_S, LANE, f"act|{STREAM}", entry, STREAM, 999, 1000)

    def replay(self) -> None:
        fact = self._fact()
        self._redis.set(keys.replay(1), "{}")
        done = self._redis.hget(keys.replay_done(1), STREAM) or b""
        self._store.call("replay", 1, 1000, RETENTION_S, STREAM, done, str(self._drawn.random()), fact, 1, LANE,
                         f"act|{STREAM}", fact + "{}")  # fmt: skip

    def _fact(self) -> str:
        return self._drawn.choice(FACTS)

    def _letters(self) -> list[str]:
        return [number.decode() for number in self._redis.zrange(keys.DEAD, 0, 0)]

    def _finish(self, *operations: tuple[Operand, ...], letter: bool = False) -> None:
        head = self._store.claim_entry("w")
        if head is not None:
            filed = (_letter(head.entry[:32].decode()),) if letter else ()
            self._store.finish(head, "done", 0, *operations, *filed)


@pytest.mark.parametrize("seed", range(8))
def test_an_event_counts_what_waits_for_it_whatever_happens(store: Store, seed: int) -> None:
    drawn = Random(seed)
    acts = Acts(store, drawn)
    for _ in range(60):
        getattr(acts, drawn.choice(acts.names()))()
        _check(store)
