"""Running actions: order, failures and waits, each per ordering key and action."""

from __future__ import annotations

import io
import json
import logging
import time
from asyncio import CancelledError
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from shared import keys, logs
from tests.component.workers.rig import (
    CREATED_AT,
    Deployment,
    Journal,
    P,
    action,
    callback,
    expire,
    sent,
    viewed,
)
from workers.actions.interface import Context, Event, Reject, Retry
from workers.sweeper import LOSSES_MAX

pytestmark = pytest.mark.real_redis


class Failing(Journal):
    """Fails while ``error`` is set, for the types that it is told."""

    def __init__(self, error: Any = None, *types: str) -> None:
        super().__init__()
        self.error = error
        self._types = types

    def __call__(self, event: Event, context: Context) -> None:
        super().__call__(event, context)
        if self.error is not None and (not self._types or event.type.removeprefix(P) in self._types):
            raise self.error


def test_one_key_and_action_is_served_in_release_order_one_by_one(state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(*(callback("e", number) for number in range(100)))
    deployment.run()
    assert [event.time - CREATED_AT for event, _ in journal.calls] == list(range(100))


def test_a_failing_action_holds_up_its_own_key_only(state: Redis) -> None:
    failing, other = Failing(RuntimeError("down"), "sent"), Journal()
    deployment = Deployment(
        state, action(failing, name="failing"), action(other, name="other"), jitter=lambda: 1.0
    )
    deployment.deliver(sent(), viewed(1), callback("e", 1, "r2"))
    deployment.run()
    assert (failing.types("r1"), failing.types("r2")) == (["sent"], ["e"])
    assert other.types("r1") == ["sent", "viewed"]
    assert deployment.waiting() == 1
    failing.error = None
    deployment.run_until(lambda: len(failing.types("r1")) == 3, "the backoff of 1 s is over")
    assert failing.types("r1") == ["sent", "sent", "viewed"]


def test_an_unordered_action_waits_for_no_other_event_of_its_key(state: Redis) -> None:
    failing = Failing(RuntimeError("down"), "sent")
    deployment = Deployment(state, action(failing, ordered=False), jitter=lambda: 1.0)
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert sorted(failing.types()) == ["sent", "viewed"]
    assert deployment.waiting() == 1


def test_a_retry_uses_no_attempt_and_keeps_its_idempotency_key(state: Redis) -> None:
    failing = Failing(Retry("not yet", after=0))
    deployment = Deployment(state, action(failing, attempts=2))
    deployment.deliver(sent())
    deployment.run_until(lambda: len(failing.calls) >= 5, "it was tried again and again")
    contexts = [context for _, context in failing.calls]
    assert {context.attempt for context in contexts} == {1}
    assert [context.retries for context in contexts] == list(range(len(contexts)))
    assert len({context.idempotency_key for context in contexts}) == 1
    assert contexts[0].waiting_since is None
    assert len({context.waiting_since for context in contexts[1:]}) == 1
    assert deployment.letters() == []


def test_a_wait_occupies_nobody(state: Redis) -> None:
    failing = Failing(Retry("not yet", after=60), "sent")
    deployment = Deployment(state, action(failing))
    deployment.deliver(sent(), *(sent(request_id=f"x{number}") for number in range(20)))
    deployment.run()
    assert deployment.waiting() == 21
    deployment.deliver(callback("e", request_id="free"))
    deployment.run()
    assert failing.types("free") == ["e"]


def test_a_retry_that_goes_on_for_too_long_dies(state: Redis) -> None:
    failing = Failing(Retry("never", after=0))
    deployment = Deployment(state, action(failing, give_up_s=0.2))
    deployment.deliver(sent(), viewed(1))
    deployment.run_until(lambda: len(deployment.letters()) == 2, "both were given up")
    assert deployment.reasons() == ["retry_expired"] * 2


def test_a_reject_dies_at_once_with_its_reason_and_the_key_goes_on(state: Redis) -> None:
    failing = Failing(Reject("no such customer"), "sent")
    deployment = Deployment(state, action(failing))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert failing.types() == ["sent", "viewed"]
    [letter] = deployment.letters()
    assert (letter["reason"], letter["detail"]) == (b"rejected", b"no such customer")
    assert (letter["action"], letter["key"], letter["type"]) == (
        b"journal", b"signature_request/r1", b"signature_request_sent"
    )  # fmt: skip
    assert "dead" in deployment.kinds()


def test_exhausted_attempts_die_with_the_error_and_the_key_goes_on(state: Redis) -> None:
    failing = Failing(RuntimeError("broken"), "sent")
    deployment = Deployment(state, action(failing, attempts=3))
    deployment.deliver(sent(), viewed(1))
    deployment.run_until(lambda: "viewed" in failing.types(), "the key went on")
    assert failing.types() == ["sent"] * 3 + ["viewed"]
    assert [context.attempt for _, context in failing.calls] == [1, 2, 3, 1]
    [letter] = deployment.letters()
    assert (letter["reason"], letter["detail"]) == (b"attempts_exhausted", b"RuntimeError: broken")
    assert b"in __call__" in letter["traceback"]
    assert deployment.left() == 0


def test_a_timeout_interrupts_a_loop_that_swallows_every_exception(state: Redis) -> None:
    def stubborn(_event: Event, _context: Context) -> None:
        while True:
            try:
                time.sleep(0.001)
            except Exception:  # noqa: BLE001, S112 - the point
                continue

    deployment = Deployment(state, action(stubborn, timeout_s=0.2, attempts=1))
    deployment.deliver(sent())
    deployment.run()
    [letter] = deployment.letters()
    assert letter["reason"] == b"attempts_exhausted"
    assert letter["detail"].startswith(b"ActionTimeout")


@pytest.mark.parametrize("error", [SystemExit(1), CancelledError(), GeneratorExit()], ids=repr)
def test_whatever_an_action_raises_is_its_own_failure(state: Redis, error: BaseException) -> None:
    """It must neither end the worker nor take the rest of the batch with it."""
    failing = Failing(error, "sent")
    deployment = Deployment(state, action(failing, attempts=1))
    deployment.deliver(sent(), sent(request_id="r2"), viewed(1))
    deployment.run()
    assert deployment.reasons() == ["attempts_exhausted"] * 2
    assert failing.types() == ["sent", "viewed"]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    "error", [ValueError("half a character: \ud83d"), Reject("\ud83d"), Unspeakable()], ids=type
)
def test_an_error_that_cannot_be_written_down_is_a_dead_letter_all_the_same(
    state: Redis, error: Exception
) -> None:
    failing = Failing(error, "sent")
    deployment = Deployment(state, action(failing, attempts=1))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert len(deployment.letters()) == 1
    assert failing.types() == ["sent", "viewed"]


@pytest.mark.parametrize("after", [float("nan"), float("inf"), "10"])
def test_a_wait_that_is_no_number_of_seconds_is_the_actions_failure(state: Redis, after: Any) -> None:
    def confused(_event: Event, _context: Context) -> None:
        raise Retry("later", after=after)

    deployment = Deployment(state, action(confused, attempts=1))
    deployment.deliver(sent())
    deployment.run()
    assert deployment.reasons() == ["attempts_exhausted"]


def test_a_wait_that_is_over_already_is_no_wait(state: Redis) -> None:
    failing = Failing(Retry("the deadline has passed", after=-5))
    deployment = Deployment(state, action(failing))
    deployment.deliver(sent())
    deployment.run_until(lambda: len(failing.calls) > 1, "it was tried again")


def test_an_emitted_event_that_is_no_json_is_the_actions_failure(state: Redis) -> None:
    def careless(_event: Event, context: Context) -> None:
        context.emit("deedbox.something", {"when": object()})

    deployment = Deployment(state, action(careless, attempts=1))
    deployment.deliver(sent())
    deployment.run()
    assert deployment.reasons() == ["attempts_exhausted"]


def test_an_action_is_told_that_an_event_is_late(state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(callback("e", 5))
    deployment.drain()
    deployment.deliver(callback("e", 3))
    deployment.run()
    assert [(event.time - CREATED_AT, event.late) for event, _ in journal.calls] == [(5, False), (3, True)]


def test_an_event_shows_what_arrived(state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(viewed(7, request_id="a1", test_mode=True), received_at=123.5)
    deployment.deliver(sent(request_id="a1"), received_at=124.5)
    deployment.run()
    event = journal.calls[-1][0]
    assert (event.type, event.time, event.received_at) == (P + "viewed", CREATED_AT + 7, 123.5)
    assert (event.source, event.ordering_key, event.signature_request_id) == (
        "default",
        "signature_request/a1",
        "a1",
    )
    assert (event.related_signature_id, event.test_mode, event.body_signature) == ("s1", True, "valid")
    assert event.payload["signature_request"]["test_mode"] is True


def test_an_internal_event_reaches_the_actions_of_its_key_once(state: Redis) -> None:
    def emitting(_event: Event, context: Context) -> None:
        context.emit("deedbox.thing", {"n": 1})

    exact, prefix, star = Journal(), Journal(), Journal()
    deployment = Deployment(
        state, action(emitting, P + "*", name="emitting"), action(exact, "deedbox.thing", name="exact"),
        action(prefix, "deedbox.*", name="prefix", lane="crm"), action(star, name="star"),
    )  # fmt: skip
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    for journal in (exact, prefix):
        [(event, _)] = journal.calls
        assert (event.type, event.ordering_key, event.payload) == (
            "deedbox.thing",
            "signature_request/r1",
            {"n": 1},
        )
    assert star.types() == ["sent", "viewed"]


def test_an_action_that_this_process_lacks_is_left_for_one_that_has_it(state: Redis) -> None:
    """A rolling deploy: the old worker knows nothing of the new action."""
    journal = Journal()
    new = Deployment(state, action(journal, name="new"), action(Journal(), name="old"))
    new.deliver(sent())
    new.drain()
    old = Deployment(state, action(Journal(), name="old"))
    old.work()
    assert (old.waiting(), old.letters(), journal.calls) == (1, [], [])
    expire(state, keys.lane("default", "waiting"))  # half a minute later
    new.sweeper.once()
    new.work()
    assert journal.types() == ["sent"]


def test_what_waits_for_an_action_that_moved_to_another_lane_is_worked_off_there(state: Redis) -> None:
    """No process serves the old lane any more: nothing names it, so none would even start."""
    old = Deployment(state, action(Journal(), lane="old"))
    old.deliver(sent())
    old.drain()
    journal = Journal()
    new = Deployment(state, action(journal, lane="new"))
    new.sweeper.once()
    new.work()
    assert journal.types() == ["sent"]


def test_an_event_that_takes_its_process_down_is_set_aside_and_blocks_no_other_key(state: Redis) -> None:
    """No outcome is ever committed for it, so no attempt is counted by anybody else."""
    journal = Journal()
    deployment = Deployment(state, action(journal))

    def killed() -> None:
        """Claim the poison as a worker does, which then is gone; its lease runs out."""
        deployment.scripts.call("claim_entries", "", "default", "dying", 10, 2, 1, 1 << 20)
        expire(state, keys.lane("default", "leased"))
        deployment.sweeper.once()

    deployment.deliver(sent(0, "poison"), viewed(1, "poison"))
    deployment.drain()
    for crash in range(LOSSES_MAX):
        assert deployment.letters() == []
        killed()
        if crash == 2:
            deployment.deliver(sent(0, "other"))
            deployment.drain()
            state.zadd(keys.lane("default", "ready"), {"journal|default:signature_request/other": 0})
            assert deployment.lanes["default"].drain_one("worker")  # between two crashes
            assert journal.types("other") == ["sent"]
    deployment.run()

    [letter] = deployment.letters()
    assert (letter["reason"], letter["type"], letter["key"]) == (
        b"worker_lost",
        b"signature_request_sent",
        b"signature_request/poison",
    )
    assert deployment.kinds("poison")[-2:] == ["dead", "action"]
    assert journal.types("poison") == ["viewed"]
    assert state.ttl(keys.event(letter["event"].decode())) == -1
    assert int(state.get(keys.lane("default", "depth")) or 0) == 0


def test_a_process_that_dies_now_and_then_costs_no_event_its_life(state: Redis) -> None:
    """Only losses in a row of the same event count."""
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(*(sent(at) for at in range(LOSSES_MAX + 2)))
    deployment.drain()
    for _ in range(LOSSES_MAX + 2):
        deployment.scripts.call("claim_entries", "", "default", "dying", 10, 2, 1, 1 << 20)
        expire(state, keys.lane("default", "leased"))
        deployment.sweeper.once()
        assert deployment.lanes["default"].drain_one("worker")
    assert (len(journal.calls), deployment.letters()) == (LOSSES_MAX + 2, [])


@pytest.mark.parametrize("damage", ["gone", "unreadable"])
def test_an_entry_whose_event_is_lost_is_a_dead_letter(state: Redis, damage: str) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    deployment.deliver(sent(), viewed(1))
    deployment.drain()
    key = keys.event(deployment.timeline()[0]["event"])
    state.delete(key) if damage == "gone" else state.hset(key, "body", b"{")
    deployment.work()
    assert deployment.reasons() == ["event_missing"]
    assert journal.types() == ["viewed"]


def test_other_work_starts_while_a_call_takes_long(state: Redis) -> None:
    """Entries of the same claim are given back, and finished ones committed, before the slow call ends."""
    seen_meanwhile: list[tuple[int, int]] = []

    def slow(event: Event, _context: Context) -> None:
        if event.type == "slow":
            time.sleep(0.5)
            ready = state.zcard(keys.lane("default", "ready"))
            seen_meanwhile.append((int(ready), deployment.counters()["action_done"]))

    deployment = Deployment(state, action(slow))
    deployment.deliver(*(callback("fast", 1, f"x{number}") for number in range(200)))
    deployment.run()
    quick = deployment.counters()["action_done"]
    deployment.deliver(callback("fast", 2, "x0"))
    deployment.drain()
    time.sleep(0.01)
    deployment.deliver(callback("slow", 2, "x1"))
    deployment.drain()
    time.sleep(0.01)
    deployment.deliver(*(callback("fast", 2, f"x{number}") for number in range(2, 12)))
    deployment.run()
    assert seen_meanwhile == [(10, quick + 1)]
    assert deployment.counters()["action_done"] == quick + 12
    assert deployment.left() == 0


def test_a_lease_is_renewed_while_its_call_runs(state: Redis) -> None:
    def slow(_event: Event, _context: Context) -> None:
        leased = keys.lane("default", "leased")
        expire(state, leased, time.time() + 1)  # as after 9 s
        time.sleep(0.4)
        assert state.zcount(leased, time.time() + 5, "+inf") == 1

    deployment = Deployment(state, action(slow, attempts=1))
    deployment.deliver(sent())
    deployment.run()
    assert deployment.letters() == []


def test_a_call_whose_lease_was_swept_commits_nothing(state: Redis) -> None:
    journal = Journal()

    def paused(event: Event, context: Context) -> None:
        journal(event, context)
        if len(journal.calls) == 1:
            expire(state, keys.lane("default", "leased"))
            deployment.sweeper.once()
            other.work()

    deployment = Deployment(state, action(paused))
    other = Deployment(state, action(journal))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert journal.types() == ["sent", "sent", "viewed"]
    keys_seen = {context.idempotency_key for event, context in journal.calls if event.type == P + "sent"}
    assert len(keys_seen) == 1
    assert deployment.counters()["action_done"] == 2
    assert int(state.get(keys.lane("default", "depth")) or 0) == 0


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Log as a process does, into memory."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("json", "worker", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_call_is_one_line_without_payload_or_error_text(state: Redis, logged: io.StringIO) -> None:
    deployment = Deployment(state, action(Failing(ValueError("Jane Doe"), "sent"), attempts=1))
    deployment.deliver(sent(title="Jane Doe"), viewed(1))
    deployment.run()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    calls = [line for line in lines if line["event"] == "action.finished"]
    assert [line["outcome"] for line in calls] == ["dead", "done"]
    assert {line["key"] for line in calls} == {"signature_request/r1"}
    assert "Jane Doe" not in logged.getvalue()
