"""Leasing the head of a queue, and its outcomes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.records.subscriptions import Subscription
from deedbox.shared.redis import keys
from tests.contract.conftest import ACTIONS, LANE, LEASE_S, Store, emitted, section

UNIT = "act|x:a/1"
OTHER = "act|x:a/2"


def _listen(store: Store) -> None:
    """Let two actions, in two lanes, want what an action emits."""
    store.declare(Subscription("hook", ("emit",), "crm"), Subscription("log", ("emit",), LANE))


def test_a_queue_is_worked_off_in_order_one_entry_at_a_time(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    worked = []
    while head := store.claim_entry("a"):
        assert store.claim_entry("b") is None
        worked.append(head.entry)
        store.finish(head, "done")
    assert worked == [b"1", b"2", b"3"]


def test_two_queues_are_worked_off_side_by_side(store: Store) -> None:
    store.enqueue((UNIT, "1"), (OTHER, "2"))
    heads = [store.claimed(drainer) for drainer in "ab"]
    assert {head.unit.decode() for head in heads} == {UNIT, OTHER}


def test_an_entry_stays_until_its_outcome_is_committed(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    store.claim_entry("killed")
    store.now += LEASE_S + 0.001
    assert store.sweep() == [1, 0, 1]
    assert store.claimed("b").entry == b"1"


@pytest.mark.parametrize("verb", ["done", "wait", "back"])
def test_a_stale_token_commits_no_outcome(store: Store, verb: str) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    stale = store.claimed("paused")
    store.now += LEASE_S + 1
    store.sweep()
    current = store.claimed("b")
    before = store.dump()
    everything = (("E", "changed"), ("T", 1, "{}"), ("C", "n", 1), emitted(OTHER, "9"),
                  ("D", 2, "reason", "rejected"))  # fmt: skip
    lost = 0 if verb == "back" else 1  # of what was not started no outcome is lost
    assert store.finish(stale, verb, 1, *everything) == [lost]
    assert store.dump() == before
    assert store.finish(current, "done")[0] == 0


def test_a_retry_waits_with_its_new_text_and_its_queue_waits_behind_it(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    store.finish(store.claimed("a"), "wait", 5, ("E", "1 again"))
    store.enqueue((UNIT, "3"))
    assert store.claim_entry("a") is None
    store.now += 4.9
    assert store.sweep() == [0, 0, 0]
    store.now += 0.2
    assert store.sweep()[1] == 1
    worked = []
    while head := store.claim_entry("a"):
        worked.append(head.entry)
        store.finish(head, "done")
    assert worked == [b"1 again", b"2", b"3"]


def test_a_waiting_head_blocks_no_other_queue(store: Store) -> None:
    store.enqueue((UNIT, "1"), (OTHER, "2"))
    store.finish(store.claimed("a"), "wait", 600, ("E", "1"))
    assert store.claimed("a").entry == b"2"


def test_an_entry_that_is_left_is_unchanged(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    store.finish(store.claimed("a"), "wait", 30)
    assert (store.claim_entry("a"), store.depth()) == (None, 1)
    store.now += 30
    store.sweep()
    assert store.claimed("a").entry == b"1"


def test_a_dead_entry_leaves_its_letter_and_the_queue_goes_on(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    letter = ("D", 4, "reason", "rejected", "unit", UNIT)
    store.finish(store.claimed("a"), "done", 0, letter)
    assert store.redis.zcard(keys.DEAD) == 1
    assert store.claimed("a").entry == b"2"


def _emit(fingerprint: str) -> tuple[tuple[Any, ...], ...]:
    return (
        ("F", fingerprint, 1000, 2, "head", "{}"),
        ("A", fingerprint, "emit", fingerprint),
    )


def test_an_internal_event_is_dispatched_once_however_often_it_is_emitted(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    _listen(store)
    first, again, another = _emit("a" * 32), _emit("a" * 32), _emit("b" * 32)
    for operations in (first, again, another):
        store.finish(store.claimed("w"), "done", 0, *operations, ("T", 1, "after"))
    assert store.redis.lrange(keys.queue("hook|x:a/1"), 0, -1) == [b"a" * 32, b"b" * 32]
    assert store.redis.lrange(keys.queue("log|x:a/1"), 0, -1) == [b"a" * 32, b"b" * 32]
    assert store.redis.lrange(keys.timeline("x:a/1"), 0, -1) == [b"after"] * 3


def test_an_internal_event_asks_for_a_doorbell_in_its_lanes(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    _listen(store)
    reply = store.finish(store.claimed("w"), "done", 0, *_emit("a" * 32))
    assert sorted(reply[1:]) == [b"crm", LANE.encode()]


def test_the_depth_counts_what_lies_in_the_queues(store: Store) -> None:
    """Whatever happens to entries: the page that shows the depth never drifts from the truth."""
    store.enqueue(*((f"act|x:a/{number % 3}", str(number)) for number in range(9)))
    _listen(store)
    for what in ("done", "retry", "leave", "done", "crash", "fenced", "dead", "back", "done"):
        head = store.claimed("a")
        if what in {"crash", "fenced"}:
            store.now += LEASE_S + 1
            store.sweep()
        if what == "retry":
            store.finish(head, "wait", 1, ("E", "x"))
        elif what == "leave":
            store.finish(head, "wait", 1)
        elif what == "dead":
            store.finish(head, "done", 0, ("D", 2, "reason", "rejected"))
        elif what != "crash":
            store.finish(head, "back" if what == "back" else "done", 0, *_emit("a" * 32))
        assert store.depth() == store.entries_queued()
        store.now += 2
        store.sweep()
    assert store.entries_queued() == 9 - 4 + 2 * 3, "each request has it once"


def test_a_batch_takes_heads_of_several_queues_within_its_bounds(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (OTHER, "3"), ("act|x:a/3", "4"))
    batch = store.claim("a", entries_at_most=2)
    assert [(unit.unit.decode(), unit.entries) for unit in batch] == [(UNIT, [b"1"]), (OTHER, [b"3"])]
    assert store.ring is True
    assert store.claimed("b").entry == b"4"


def test_where_few_queues_are_ready_a_claim_takes_what_follows_in_them(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (OTHER, "3"), (UNIT, "4"), (UNIT, "5"))
    batch = store.claim("a", entries_at_most=7)
    assert [unit.entries for unit in batch] == [[b"1", b"2", b"4"], [b"3"]]
    assert store.claim("b", entries_at_most=7) == []


def test_the_lease_stays_with_what_follows_until_the_last_outcome(store: Store) -> None:
    """So that a crash never runs an earlier event of a key again after a later one: the queue begins with what has none."""
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    [unit] = store.claim("a", entries_at_most=3)
    for entry, left in ((b"1", [b"2", b"3"]), (b"2", [b"3"])):
        assert store.commit(section(unit, "next", entry=entry)) == [0], "nothing is ready, nothing is rung"
        assert store.redis.lrange(keys.queue(UNIT), 0, -1) == left
        assert store.claim("b", entries_at_most=3) == []
    assert store.over == []
    store.commit(section(unit, "done", entry=b"3"))
    assert store.depth() == store.entries_queued() == 0
    assert not store.redis.exists(keys.action("act", "leased"), keys.action("act", "tokens"))


def test_outcomes_of_several_entries_of_a_queue_are_committed_in_one_call(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    [unit] = store.claim("a", entries_at_most=3)
    store.commit(section(unit, "next", entry=b"1"), section(unit, "wait", 5, entry=b"2"))
    assert store.redis.lrange(keys.queue(UNIT), 0, -1) == [b"2", b"3"]
    assert store.claim("b", entries_at_most=3) == []
    store.now += 5.001
    store.sweep()
    assert store.claimed("b").entry == b"2"


def test_what_follows_an_outcome_may_be_given_back(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    [unit] = store.claim("a", entries_at_most=3)
    store.commit(section(unit, "next", entry=b"1"), section(unit, "back", entry=b""))
    assert store.claimed("b").entry == b"2"


def test_nothing_follows_an_outcome_whose_lease_was_lost(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    [unit] = store.claim("a", entries_at_most=2)
    store.now += LEASE_S + 1
    store.sweep()
    assert store.commit(section(unit, "next", entry=b"1"))[0] == 1
    assert store.over == [UNIT.encode()]
    assert store.claimed("b").entry.startswith(b"1")


def test_nothing_follows_an_outcome_whose_stream_was_erased(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"))
    [unit] = store.claim("a", entries_at_most=2)
    store.redis.set(keys.erased("x:a/1"), "{}")
    assert store.commit(section(unit, "next", 0, ("T", 1, "{}"), entry=b"1"))[0] == 0
    assert store.over == [UNIT.encode()]
    assert not store.redis.exists(keys.action("act", "leased"), keys.action("act", "tokens"))


def test_what_was_not_started_is_given_back_at_once(store: Store) -> None:
    store.enqueue((UNIT, "1"), (OTHER, "2"))
    slow, unstarted = store.claim("a", entries_at_most=2)
    reply = store.commit(section(unstarted, "back", entry=b""))
    assert LANE.encode() in reply[1:]
    assert store.claimed("b").entry == unstarted.entry
    assert store.finish(slow, "done")[0] == 0


def test_one_lost_lease_in_a_commit_does_not_stop_the_other_outcomes(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    lost = store.claimed("a")
    store.now += LEASE_S + 1
    store.sweep()
    store.claimed("b")
    store.enqueue((OTHER, "2"))
    kept = store.claimed("a")
    letter = ("D", 2, "reason", "rejected")
    assert store.commit(section(lost, "done", 0, letter), section(kept, "done", 0, ("C", "n", 1)))[0] == 1
    assert (store.redis.zcard(keys.DEAD), store.redis.hget(keys.COUNTERS, "n")) == (0, b"1")
    assert store.depth() == store.entries_queued() == 1


def test_a_commit_that_is_sent_twice_takes_one_entry(store: Store) -> None:
    """The connection broke after Redis had run it: the client sends it again, and the lease still holds."""
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    [unit] = store.claim("a", entries_at_most=3)
    for _ in range(2):
        store.commit(section(unit, "done", 0, ("T", 1, "{}"), ("M", "done", 0, 5)))
    assert store.redis.lrange(keys.queue(UNIT), 0, -1) == [b"2", b"3"]
    assert store.redis.hget(keys.COUNTERS, "action_done") == b"1"
    assert store.depth() == 2


def test_a_commit_that_keeps_its_lease_counts_once_if_it_is_sent_twice(store: Store) -> None:
    store.enqueue((UNIT, "1"), (UNIT, "2"), (UNIT, "3"))
    [unit] = store.claim("a", entries_at_most=3)
    again = section(unit, "next", 0, ("T", 1, "{}"), ("M", "done", 0, 5), entry=b"1")
    lines = store.redis.llen(keys.timeline("x:a/1"))
    assert [store.commit(again)[0] for _ in range(2)] == [0, 0]
    assert store.redis.lrange(keys.queue(UNIT), 0, -1) == [b"2", b"3"]
    assert store.redis.hget(keys.COUNTERS, "action_done") == b"1"
    assert store.redis.llen(keys.timeline("x:a/1")) == lines + 1
    assert store.commit(section(unit, "next", entry=b"2"))[0] == 0
    store.commit(again)  # late
    assert store.depth() == store.entries_queued() == 1


def test_a_lease_can_be_renewed_until_it_is_lost(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    head = store.claimed("a")
    for _ in range(5):
        store.now += LEASE_S - 1
        assert store.call("renew", head.unit, head.token, LEASE_S) == 1
        assert store.sweep()[0] == 0
    store.now += LEASE_S + 1
    assert store.sweep()[0] == 1
    assert store.call("renew", head.unit, head.token, LEASE_S) == 0
    store.claim_entry("b")
    assert store.call("renew", head.unit, head.token, LEASE_S) == 0


def test_a_unit_whose_entries_were_discarded_gives_its_lease_back(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    store.redis.delete(keys.queue(UNIT))
    assert store.claim_entry("a") is None
    assert store.sweep() == [0, 0, 0]


@pytest.mark.parametrize(
    ("outcome", "counter"),
    [
        ("done", "action_done"),
        ("retry", "action_retry"),
        ("timeout", "action_retry"),
        ("dead", "action_dead"),
    ],
)
def test_how_a_call_ended_says_what_counts_it(store: Store, outcome: str, counter: str) -> None:
    store.enqueue((UNIT, "1"))
    before = store.redis.hgetall(keys.COUNTERS)
    store.finish(
        store.claimed("a"), "wait" if counter == "action_retry" else "done", 1, ("M", outcome, 3, 250)
    )
    assert store.redis.hgetall(keys.COUNTERS) == {**before, counter.encode(): b"1"}
    of = f"{LANE}|act|"
    calls = {of + outcome: b"1", of + "le|3": b"1", of + "us": b"250"}
    assert store.redis.hgetall(keys.CALLS) == {name.encode(): value for name, value in calls.items()}


def test_an_outcome_that_this_version_does_not_know_is_an_error(store: Store) -> None:
    store.enqueue((UNIT, "1"))
    with pytest.raises(Unavailable):
        store.finish(store.claimed("a"), "done", 0, ("?", "x"))


def test_of_a_unit_there_is_one_lease_whatever_lane_its_action_is_in(store: Store) -> None:
    """A rolling deploy: processes of two lanes have the action, and its entries come from both versions."""
    store.enqueue((UNIT, "1"), lane="old")
    running = store.claimed("of the old lane", lane="old")
    store.enqueue((UNIT, "2"), lane="new")
    assert store.claim_entry("of the new lane", lane="new") is None
    store.finish(running, "done", lane="old")
    following = store.claimed("of the new lane", lane="new")
    assert following.entry == b"2"
    assert store.claim_entry("of the old lane", lane="old") is None


def test_a_retry_holds_up_its_queue_in_every_lane(store: Store) -> None:
    store.enqueue((UNIT, "1"), lane="old")
    store.finish(store.claimed("a", lane="old"), "wait", 5, ("E", "1 again"), lane="old")
    store.enqueue((UNIT, "2"), lane="new")
    assert store.claim_entry("b", lane="new") is None
    store.now += 5
    store.sweep("new")
    assert store.claimed("b", lane="new").entry == b"1 again"


def test_work_of_actions_that_nobody_has_is_in_nobodys_way(store: Store) -> None:
    store.enqueue(*((f"removed|x:a/{number}", "1") for number in range(1100)), (UNIT, "2"))
    assert store.claimed("a").entry == b"2"
    assert store.claim_entry("a") is None
    assert store.leave("a") == 1


def test_the_oldest_unit_of_all_actions_comes_first(store: Store) -> None:
    ages = Random(1).sample(range(100), 100)
    for age in ages:
        store.now = 1000.0 + age
        store.enqueue((f"{ACTIONS[age % 3]}|x:a/{age}", str(age)))
    claimed = [int(unit.entry) for size in (1, 40, 3, 100) for unit in store.claim("a", size)]
    assert claimed == list(range(100))
