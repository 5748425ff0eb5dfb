"""What a failed call of an action leads to: a wait, another attempt, a dead letter; other keys go on."""

from __future__ import annotations

import time
from asyncio import CancelledError
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.repair.pausing import Pauser
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget
from deedbox.shared.records import queue_entry
from deedbox.shared.redis import keys
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from tests.component.workers.rig import (
    Deployment,
    Failing,
    Journal,
    action,
    callback,
    expire_units,
    sent,
    viewed,
)

pytestmark = pytest.mark.real_redis


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


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


def test_a_call_that_was_put_off_is_not_given_up_because_of_a_pause(state: Redis) -> None:
    """A pause of a week, played by moving the entry's times: the CRM is back, and asks for one more minute."""
    week_s = 7 * 86_400.0
    failing = Failing(Retry("busy", after=1))
    deployment = Deployment(state, action(failing, name="crm", give_up_s=3600))
    deployment.deliver(sent())
    deployment.run()
    pauser, target = Pauser(deployment.scripts), PauseTarget(PauseKind.ACTION, "crm")
    pauser.pause(target, by="anna")
    queue = keys.queue("crm|default:signature_request/r1")
    [packed] = state.lrange(queue, 0, -1)
    entry = queue_entry.load(packed)
    assert entry
    assert entry.first_failed_at is not None
    assert entry.due_at is not None
    moved = replace(entry, first_failed_at=entry.first_failed_at - week_s, due_at=entry.due_at - week_s)
    state.lset(queue, 0, queue_entry.dump(moved))
    expire_units(state, "waiting")
    deployment.sweeper.once()
    deployment.run()
    assert len(failing.calls) == 1

    pauser.resume(target)
    deployment.sweeper.once()
    deployment.run()
    assert (len(failing.calls), deployment.letters(), deployment.waiting()) == (2, [], 1)
    since = failing.calls[1][1].waiting_since
    assert since == pytest.approx(entry.first_failed_at, abs=60)


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
