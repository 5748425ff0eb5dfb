"""Calls of an action that no process declares any more: ended as dead letters, or given to another action."""

from __future__ import annotations

from typing import Any

import pytest

from deedbox.ops.repair.undeclared import Moved, UndeclaredCalls
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.records.subscriptions import Subscription
from deedbox.shared.redis import keys
from tests.contract.conftest import LANE, LEASE_S, Store, queued

STREAM = "default:signature_request/r1"
OLD, NEW = f"old|{STREAM}", f"act|{STREAM}"
FACTS = tuple(digit * 32 for digit in "abcd")


@pytest.fixture
def rung() -> list[str]:
    return []


@pytest.fixture
def calls(store: Store, rung: list[str]) -> UndeclaredCalls:
    """Leave three calls of one request behind, then deploy without their action."""
    store.append((0, b"callback"))
    store.declare(Subscription("old", ("old",), LANE))
    facts = [("F", fact, 999, 2, "0", "{}") for fact in FACTS[:3]]
    store.release(
        store.shard("s"), 1, ("S", STREAM, "", ""), *facts, *(queued(OLD, fact + "{}") for fact in FACTS[:3])
    )
    store.now += 1
    store.declare(Subscription("act", ("act",), "new"))
    return UndeclaredCalls(store._scripts, rung.append)


def test_they_are_known_by_the_name_of_their_action(calls: UndeclaredCalls) -> None:
    assert calls.look().undeclared == {"old": 3}


def test_ended_calls_are_dead_letters_with_everything_that_a_redrive_needs(
    store: Store, calls: UndeclaredCalls
) -> None:
    assert calls.end("old") == Moved(3, 0)
    assert (calls.look().undeclared, store.depth(), store.entries_queued()) == ({}, 0, 0)
    letters: list[Any] = [store.redis.hgetall(keys.dead(str(number))) for number in (1, 2, 3)]
    assert [letter[b"event"].decode() for letter in letters] == list(FACTS[:3])
    assert {letter[b"reason"] for letter in letters} == {b"action_gone"}
    assert {letter[b"unit"].decode() for letter in letters} == {OLD}
    assert {letter[b"key"] for letter in letters} == {b"signature_request/r1"}
    assert all(store.redis.ttl(keys.event(fact)) == -1 for fact in FACTS[:3]), "a letter keeps its event"
    assert calls.end("old") == Moved(0, 0)


def test_renamed_calls_come_in_their_order_before_what_waits_already(
    store: Store, calls: UndeclaredCalls, rung: list[str]
) -> None:
    store.append((0, b"callback"))
    store.release(store.shard("s"), 1, ("S", STREAM, "", ""), queued(NEW, FACTS[3] + "{}"))
    store.redis.delete("rq:queue:" + keys.rq_queue("new"))
    assert calls.rename("old", "act") == Moved(3, 0)
    assert rung == ["new"]
    worked = []
    while head := store.claim_entry("w", lane="new"):
        assert head.unit == NEW.encode()
        worked.append(head.entry[:32].decode())
        store.finish(head, "done", lane="new")
    assert worked == list(FACTS)
    assert store.depth() == 0


def test_calls_that_run_are_left_for_a_later_time(store: Store, calls: UndeclaredCalls) -> None:
    """A process of the old version has claimed one; its outcome must find the entry that it ran."""
    reply = store.call("claim_entries", LANE, "of the old version", LEASE_S, 3, 1, 1 << 20, "old")
    assert reply
    assert calls.rename("old", "act") == calls.end("old") == Moved(0, 3)
    store.now += LEASE_S + 1
    store.call("sweep", "", 0, 500, 8, 50, 1000, 1000, 20, "old")
    assert calls.rename("old", "act") == Moved(3, 0)


def test_a_call_of_the_other_action_that_runs_keeps_its_place(store: Store, calls: UndeclaredCalls) -> None:
    store.append((0, b"callback"))
    store.release(store.shard("s"), 1, ("S", STREAM, "", ""), queued(NEW, FACTS[3] + "{}"))
    running = store.claimed("w", lane="new")
    assert calls.rename("old", "act") == Moved(0, 3)
    store.finish(running, "done", lane="new")
    assert calls.rename("old", "act") == Moved(3, 0)
    assert store.entries_queued() == store.depth() == 3


def test_declared_actions_are_left_alone(store: Store, calls: UndeclaredCalls) -> None:
    before = store.dump()
    with pytest.raises(DeedboxError, match="The action act is declared"):
        calls.end("act")
    with pytest.raises(DeedboxError, match="The action act is declared"):
        calls.rename("act", "act")
    with pytest.raises(DeedboxError, match="No process declares the action nowhere"):
        calls.rename("old", "nowhere")
    assert store.dump() == before
