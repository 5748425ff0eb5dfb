"""``run`` ends as a call in a worker ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import Any

import pytest

from deedbox import Context, Event, Reject, Retry, action
from deedbox.testing import Callback, callback, run


@pytest.fixture
def signed() -> Callback:
    return callback("signature_request_signed")


def raising(error: BaseException) -> Any:
    def act(_event: Event, _context: Context) -> None:
        raise error

    return act


def test_a_call_that_returns_is_done_and_its_emissions_count(signed: Callback) -> None:
    def act(_event: Event, context: Context) -> None:
        context.note("billed")
        context.emit("deedbox.billed", {"sum": 7})

    ran = run(act, signed)
    assert (ran.outcome, ran.emitted, ran.notes) == ("done", (("deedbox.billed", {"sum": 7}),), ("billed",))


@pytest.mark.parametrize(
    ("error", "outcome", "reason", "after", "dead"),
    [
        (Retry("the CRM is down", after=60), "retry", "the CRM is down", 60, None),
        (Retry("the CRM is down"), "retry", "the CRM is down", 1, None),
        (Retry("later", after=10**9), "retry", "later", 3 * 86_400, None),
        (Reject("unknown"), "rejected", "unknown", None, "rejected"),
        (KeyError("x"), "error", None, 1, None),
        (SystemExit(3), "error", None, 1, None),
    ],
)
def test_a_call_that_raises_ends_as_in_a_worker(
    signed: Callback,
    error: BaseException,
    outcome: str,
    reason: str | None,
    after: float | None,
    dead: str | None,
) -> None:
    ran = run(raising(error), signed)
    assert (ran.outcome, ran.reason, ran.after, ran.dead) == (outcome, reason, after, dead)
    assert ran.error is (error if outcome == "error" else None)
    assert ran.emitted == ()


def test_the_last_attempt_leads_to_a_dead_letter(signed: Callback) -> None:
    act = action("*", attempts=3)(raising(KeyError("x")))
    assert [run(act, signed, attempt=each).dead for each in (1, 2, 3)] == [None, None, "attempts_exhausted"]


def test_the_context_tells_the_attempt_and_the_key_stays_the_same(signed: Callback) -> None:
    found: list[Context] = []
    for attempt in (1, 2):
        run(lambda _event, context: found.append(context), signed, attempt=attempt)
    first, second = found
    assert (first.attempt, first.fruitless, first.waiting_since) == (1, 0, None)
    assert (second.attempt, second.fruitless, second.waiting_since) == (2, 1, signed.received_at)
    assert first.idempotency_key == second.idempotency_key


@action("*", timeout_s=0.05)
def slow(_event: Event, _context: Context) -> None:
    with contextlib.suppress(Exception):
        time.sleep(30)


@action("*", timeout_s=0.05)
async def slow_too(_event: Event, _context: Context) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("act", [slow, slow_too])
def test_a_call_that_takes_too_long_times_out(signed: Callback, act: Any) -> None:
    ran = run(act, signed)
    assert (ran.outcome, type(ran.error).__name__) == ("timeout", "ActionTimeout")


def test_async_actions_run_and_share_an_event_loop(signed: Callback) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def act(_event: Event, context: Context) -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        raise Retry(f"attempt {context.attempt}")

    assert run(act, signed).reason == "attempt 1"
    assert run(act, signed, attempt=2).reason == "attempt 2"
    assert loops[0] is loops[1]


def test_the_timer_of_whoever_runs_the_test_goes_on(signed: Callback) -> None:
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        run(lambda _event, _context: None, signed)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, before)


def test_of_several_declarations_the_one_that_wants_the_event_counts(signed: Callback) -> None:
    act = action("signature_request_signed", name="mine", attempts=1)(
        action("signature_request_sent", name="other")(raising(KeyError("x")))
    )
    assert run(act, signed).dead == "attempts_exhausted"
    assert run(act, callback("signature_request_sent")).dead is None


def test_an_event_that_a_test_made_itself_can_be_used(signed: Callback) -> None:
    keys: list[str] = []
    for _ in range(2):
        assert (
            run(lambda _event, context: keys.append(context.idempotency_key), signed.event).outcome == "done"
        )
    assert keys[0] == keys[1]
