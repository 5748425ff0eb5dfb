"""What the sequencer makes of deliveries: one fact once, in order, nothing dropped."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from functools import partial
from typing import cast

import pytest
from redis import Redis

from deedbox.shared.core.identity import shard_of
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.records import spool_mark
from deedbox.shared.records.spool_mark import LEASE_S, SpoolMark
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import inbox, keys
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    Journal,
    P,
    action,
    callback,
    envelope,
    sent,
    viewed,
)

pytestmark = pytest.mark.real_redis


def deploy(state: Redis, journal: Journal, hold_s: float = 30.0, **more: float) -> Deployment:
    return Deployment(state, action(journal), order=OrderingPolicy(hold_s=hold_s), **more)  # type: ignore[arg-type]


def test_what_is_delivered_twice_is_dispatched_once(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(sent(), sent())
    deployment.drain()
    deployment.deliver(sent())
    deployment.run()
    assert journal.types() == ["sent"]
    assert deployment.counters()["duplicate"] == 2
    assert deployment.kinds().count("duplicate") == 2


def test_the_deliveries_for_account_and_app_are_one_fact(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(sent(reported_for="account"), sent(reported_for="app", client_id="b6b8"))
    deployment.run()
    assert journal.types() == ["sent"]
    assert deployment.counters()["conflict"] == 0


def test_two_requests_with_one_event_hash_are_two_facts(state: Redis, journal: Journal) -> None:
    """The hash signs only time and type."""
    deployment = deploy(state, journal)
    deployment.deliver(sent(request_id="r1"), sent(request_id="r2"))
    deployment.run()
    assert (journal.types("r1"), journal.types("r2")) == (["sent"], ["sent"])


def test_two_sources_tell_two_facts(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(sent())
    deployment.deliver(sent(), source="other")
    deployment.run()
    assert sorted(event.source for event, _ in journal.calls) == ["default", "other"]


def test_an_overtaken_event_is_waited_for(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(viewed(5))
    deployment.run()
    assert (journal.types(), state.zcard(keys.HELD)) == ([], 1)
    deployment.deliver(sent())
    deployment.run()
    assert (journal.types(), state.zcard(keys.HELD)) == (["sent", "viewed"], 0)
    assert [line["waits_for"] for line in deployment.timeline() if line["kind"] == "held"] == [[P + "sent|"]]


def test_a_backlog_of_several_batches_is_not_released_as_expired(
    state: Redis, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sequencer was away for longer than a hold; what an event waits for lies in the next batch."""
    monkeypatch.setattr("deedbox.workers.sequencer.sequencer.BATCH", 2)
    deployment = deploy(state, journal, hold_s=0.3)
    deployment.deliver(viewed(5), viewed(6), sent())
    time.sleep(0.4)
    deployment.run_until(lambda: len(journal.types()) == 3, "all were dispatched")
    assert journal.types() == ["sent", "viewed", "viewed"]


def say_spooled(state: Redis, seen_before_s: float) -> None:
    now = float(state.time()[0])
    mark = SpoolMark("web-9", 1, 900, 1 << 30, now - 9000, now - seen_before_s)
    state.hset(keys.SPOOLS, "a1b2", spool_mark.dump(mark))


def test_a_hold_waits_for_the_spool_of_a_host_that_lives(state: Redis, journal: Journal) -> None:
    deployment = Deployment(state, action(journal), order=OrderingPolicy(hold_s=0.3, hold_max_s=600))
    say_spooled(state, 0)
    deployment.deliver(viewed(5))
    deployment.drain()
    time.sleep(0.6)
    deployment.sweeper.once()
    deployment.run()
    assert journal.types() == []


def test_a_host_that_vanished_with_its_spool_lengthens_no_hold(state: Redis, journal: Journal) -> None:
    """Thirty days later, and a minute later."""
    deployment = Deployment(state, action(journal), order=OrderingPolicy(hold_s=0.3, hold_max_s=600))
    say_spooled(state, LEASE_S + 2)
    deployment.deliver(viewed(5))
    deployment.drain()
    deployment.run_until(lambda: journal.types() == ["viewed"], "the hold ended")


@pytest.mark.parametrize(
    "stored",
    [b"", b"null", b"\xff", b'{"oldest_received_at": "soon"}', b'{"frames": 3, "seen_at": 1}', b"[" * 9999],
)
def test_a_mark_of_a_spool_that_nobody_can_read_stops_nothing(
    state: Redis, journal: Journal, stored: bytes
) -> None:
    deployment = deploy(state, journal, hold_s=0.3)
    state.hset(keys.SPOOLS, "a1b2", stored)
    deployment.deliver(sent(), viewed(5))
    deployment.run()
    assert journal.types() == ["sent", "viewed"]


def test_a_hold_ends_without_any_arrival(state: Redis, journal: Journal) -> None:
    """The sweeper wakes it; what comes after is late, dispatched all the same, and its repeats are duplicates."""
    deployment = deploy(state, journal, hold_s=0.3)
    deployment.deliver(viewed(5))
    deployment.run()
    deployment.run_until(lambda: journal.types() == ["viewed"], "the hold ended")
    deployment.deliver(sent(), viewed(5), sent())
    deployment.run()
    assert journal.types() == ["viewed", "sent!"]
    assert deployment.counters() == {
        "arrived": 4, "body_signature_valid": 4, "held": 1, "given_up": 1, "released": 1, "late": 1, "duplicate": 2,
        "action_done": 2, "hold_expired": 1,
    }  # fmt: skip
    assert deployment.left() == 0


def test_a_lost_callback_is_waited_for_twice_and_counts_as_one(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal, hold_s=0.3)
    remind = partial(callback, P + "remind", related="s1", created_at=CREATED_AT)
    deployment.deliver(viewed(5))
    deployment.run_until(journal.types, "the first hold ended")
    deployment.deliver(remind(9))
    deployment.run()
    assert journal.types() == ["viewed"]
    [held] = [
        line for line in deployment.timeline() if line["kind"] == "held" and line["type"] == P + "remind"
    ]
    assert held["waits_for"] == [P + "sent|"]
    deployment.run_until(lambda: len(journal.types()) == 2, "the second hold ended")
    deployment.deliver(remind(12))
    deployment.run()
    assert journal.types() == ["viewed", "remind", "remind"]
    counted = deployment.counters()
    assert (counted["given_up"], counted["held"], counted["hold_expired"]) == (1, 2, 2)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("reversed_names", [True, False])
def test_a_repeat_whose_text_differs_but_not_what_it_says_is_no_conflict(
    state: Redis,
    journal: Journal,
    together: bool,  # noqa: FBT001
    reversed_names: bool,  # noqa: FBT001
) -> None:
    deployment = deploy(state, journal)
    first = sent()
    payload = json.loads(first)
    again = dict(reversed(payload.items())) if reversed_names else payload | {"client_id": "b6b8"}
    deployment.deliver(first)
    if not together:
        deployment.run()
    deployment.deliver(json.dumps(again, indent=1).encode())
    deployment.run()
    counted = deployment.counters()
    assert (counted["duplicate"], counted["conflict"]) == (1, 0)


@pytest.mark.parametrize("together", [True, False])
def test_one_fact_with_another_body_is_one_fact_and_both_bodies_are_kept(
    state: Redis,
    journal: Journal,
    together: bool,  # noqa: FBT001
) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(sent(title="one"))
    if not together:
        deployment.run()
    deployment.deliver(sent(title="two"))
    deployment.run()
    assert [event.payload["signature_request"]["title"] for event, _ in journal.calls] == ["one"]
    [line] = [line for line in deployment.timeline() if line["kind"] == "conflict"]
    other = cast("dict[bytes, bytes]", state.hgetall(keys.event(f"{line['event']}:{line['body']}")))
    stored = StoredEvent.load(line["event"], other)
    assert stored
    kept = stored.payload()
    assert kept
    assert kept["signature_request"]["title"] == "two"
    assert deployment.counters()["conflict"] == 1


def test_an_event_older_than_the_limit_is_a_dead_letter_and_its_repeats_are_duplicates(
    state: Redis, journal: Journal
) -> None:
    deployment = deploy(state, journal, max_event_age_s=100)
    old, young = CREATED_AT + 101, CREATED_AT + 99
    deployment.deliver(sent(), sent(), received_at=old)
    deployment.drain()
    deployment.deliver(sent(), received_at=old)
    deployment.deliver(sent(request_id="r2"), received_at=young)
    deployment.run()
    assert (journal.types("r1"), journal.types("r2")) == ([], ["sent"])
    assert deployment.reasons() == ["too_old"]
    assert deployment.counters() == {
        "arrived": 4, "body_signature_valid": 4, "too_old": 1, "duplicate": 2, "released": 1, "action_done": 1,
        "dead_too_old": 1,
    }  # fmt: skip


def test_an_event_without_an_id_is_dispatched_as_it_comes(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    body = json.loads(callback("callback_test"))
    del body["signature_request"]
    deployment.deliver(json.dumps(body).encode(), json.dumps(body).encode())
    deployment.run()
    assert [event.type for event, _ in journal.calls] == ["callback_test"]
    assert not state.exists(keys.order("default:type/callback_test"))


def test_what_cannot_be_decoded_is_set_aside_and_the_shard_goes_on(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(b"no json")
    shard = shard_of("default:signature_request/r1")
    state.rpush(keys.inbox(shard), b"garbage", b"1.0\n{}\n{}", b"\xff\n\xff")
    deployment.deliver(sent())
    deployment.run()
    assert journal.types() == ["sent"]
    assert deployment.reasons() == ["undecodable"] * 4
    assert deployment.counters()["quarantined"] == 4
    assert deployment.left() == 0


def test_what_was_set_aside_can_be_decoded_by_a_later_version(state: Redis, journal: Journal) -> None:
    """A redrive hands the bridge a broker message; the body in it is the one that was received."""
    deployment = deploy(state, journal)
    deployment.deliver(b"no json")
    deployment.drain()
    load = inbox.Load()
    load.add_message(deployment.letters()[0]["raw"])
    assert [entry.partition(b"\n")[2] for _, entry in load.entries] == [b"no json"]


def test_nesting_as_deep_as_the_interpreter_can_bear_wedges_nothing(state: Redis, journal: Journal) -> None:
    """Reading and writing JSON have their limits at different depths: between them lies a poisonous message."""
    deployment = deploy(state, journal)
    depths = range(850, 1000)
    for depth in depths:
        nested = b"[" * depth + b"]" * depth
        body = sent(request_id=f"r{depth}", custom_fields="NESTED")
        deployment.deliver(body.replace(b'"NESTED"', nested))
    deployment.run()
    assert deployment.left() == 0
    assert len(journal.calls) + len(deployment.letters()) == len(depths)


def test_a_large_batch_is_worked_off_in_several_commits(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(*(sent(request_id=f"r{number}") for number in range(600)))
    deployment.run()
    assert len(journal.calls) == 600
    assert deployment.left() == 0


def test_ten_thousand_events_of_one_request_come_out_in_order(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    numbers = list(range(10_000))
    # Disorder within what one drain sees.
    for start in range(0, 10_000, 100):
        random.Random(start).shuffle(block := numbers[start : start + 100])
        numbers[start : start + 100] = block
    for start in range(0, 10_000, 1000):
        deployment.deliver(*(callback("unheard_of", n) for n in numbers[start : start + 1000]))
    deployment.drain()
    assert deployment.redis.llen(keys.queue("journal|default:signature_request/r1")) == 10_000
    deployment.work()
    on_time = [event.time for event, _ in journal.calls if not event.late]
    assert on_time == sorted(on_time)
    assert sorted(event.time - CREATED_AT for event, _ in journal.calls) == list(range(10_000))
    assert deployment.left() == 0


def test_settling_puts_unproved_events_in_order(state: Redis, journal: Journal) -> None:
    deployment = Deployment(state, action(journal), order=OrderingPolicy(hold_s=1, settle_s=0.3))
    deployment.deliver(callback("b_event", 2), callback("a_event", 1))
    deployment.run()
    assert journal.calls == []
    deployment.run_until(lambda: len(journal.calls) == 2, "they settled")
    assert journal.types() == ["a_event", "b_event"]


def test_the_subscriptions_are_fixed_at_release(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal)
    deployment.deliver(sent())
    deployment.drain()
    wider = Deployment(state, action(journal), action(Journal(), name="newer"))
    wider.work()
    assert wider.counters()["action_done"] == 1


def test_an_operators_redrive_is_a_fact_of_its_own(state: Redis, journal: Journal) -> None:
    deployment = deploy(state, journal, max_event_age_s=1)
    deployment.deliver(sent(), received_at=CREATED_AT + 50)
    load = inbox.Load()
    load.add(envelope(sent(), received_at=CREATED_AT + 50, redrive="1"))
    inbox.append(deployment.scripts, load)
    deployment.run()
    assert (journal.types(), deployment.reasons()) == (["sent"], ["too_old"])


def test_bodies_that_compress_well_are_taken_in_batches_of_what_they_unpack_to(
    state: Redis, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a batch of a few megabytes would be gigabytes to parse, for longer than its lease."""
    monkeypatch.setattr("deedbox.workers.sequencer.sequencer.TEXT_BYTES", 5000)
    deployment = deploy(state, journal)
    deployment.deliver(*(callback(P + "remind", at, title="x" * 2000) for at in range(7)))
    drained = 0
    while deployment.sequencer.drain_one("sequencer"):
        drained += 1
    deployment.work()
    assert drained == 3
    assert journal.types() == ["remind"] * 7
    assert deployment.left() == 0


def test_a_fact_that_comes_again_after_its_memory_expired_is_read_in_its_new_form(
    state: Redis, journal: Journal
) -> None:
    """Its first body may still be there, compressed, for a dead letter; a host of an older version sends it plain."""
    deployment = deploy(state, journal)
    deployment.deliver(sent())
    deployment.run()
    state.delete(*state.keys(keys.seen("*")), *state.keys(keys.order("*")))
    plain = inbox.Load()
    plain.add(replace(envelope(b""), body=sent(), codec=""))
    inbox.append(deployment.scripts, plain)
    deployment.run()
    whole = json.loads(sent())
    del whole["event"]["event_hash"]
    assert [event.payload for event, _ in journal.calls] == [whole] * 2
