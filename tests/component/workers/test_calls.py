"""One call: plain or async, whatever it raises, forks or leaves behind; and what its log line says."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from tests.component.workers.rig import TRACE, Deployment, action, sent, viewed

pytestmark = pytest.mark.real_redis

HERE = Path(__file__).name


def test_an_async_action_runs_with_its_trace_id(state: Redis) -> None:
    seen: list[tuple[str, str, int]] = []

    async def act(event: Event, _context: Context) -> None:
        await sleep(0.001)
        seen.append((event.type, get_contextvars()["trace_id"], id(asyncio.get_running_loop())))

    deployment = Deployment(state, action(act))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert [each[:2] for each in seen] == [
        ("signature_request_sent", TRACE),
        ("signature_request_viewed", TRACE),
    ]
    assert len({each[2] for each in seen}) == 1, "one event loop, in which clients may be kept"
    assert deployment.counters()["action_done"] == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Reject("no"), "rejected"),
        (RuntimeError("broken"), "attempts_exhausted"),
        (asyncio.CancelledError(), "attempts_exhausted"),
        (TimeoutError("of its own"), "attempts_exhausted"),
        (SystemExit(3), "attempts_exhausted"),
        (KeyboardInterrupt(), "attempts_exhausted"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("in_a_task", [False, True])
def test_what_an_async_action_raises_is_its_failure_and_the_key_goes_on(
    state: Redis, error: BaseException, reason: str, *, in_a_task: bool
) -> None:
    seen: list[str] = []

    async def fail() -> None:
        await sleep(0)
        raise error

    async def act(event: Event, _context: Context) -> None:
        if event.type.endswith("sent"):
            await (asyncio.create_task(fail()) if in_a_task else fail())
        seen.append(event.type)

    deployment = Deployment(state, action(act, attempts=1))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert deployment.reasons() == [reason]
    assert seen == ["signature_request_viewed"]


def test_an_async_action_may_ask_to_be_called_later(state: Redis) -> None:
    attempts: list[int] = []

    async def act(_event: Event, context: Context) -> None:
        attempts.append(context.retries)
        if context.retries < 2:
            raise Retry("not yet", after=0)

    deployment = Deployment(state, action(act))
    deployment.deliver(sent())
    deployment.run_until(lambda: len(attempts) == 3, "it was called until it was done")


def test_an_async_action_is_cancelled_at_its_limit_and_its_line_is_told(state: Redis) -> None:
    cancelled: list[str] = []

    async def act(_event: Event, _context: Context) -> None:
        try:
            await sleep(60)  # the line
        except asyncio.CancelledError:
            cancelled.append("yes")
            raise

    deployment = Deployment(state, action(act, attempts=1, timeout_s=0.2))
    deployment.deliver(sent())
    with capture_logs() as lines:
        deployment.run()
    [letter] = deployment.letters()
    assert letter["detail"] == b"ActionTimeout: the call took longer than 0.2 s"
    assert b"sleep(60)  # the line" in letter["traceback"]
    assert cancelled == ["yes"]
    assert any(HERE in str(line.get("error")) for line in lines)


def test_nothing_that_an_async_action_started_outlives_its_call(state: Redis) -> None:
    went_on: list[str] = []

    async def background() -> None:
        await sleep(0.05)
        went_on.append("yes")

    async def act(event: Event, _context: Context) -> None:
        if event.type.endswith("sent"):
            task = asyncio.create_task(background())
            assert not task.done()
        else:
            await sleep(0.1)

    deployment = Deployment(state, action(act))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert deployment.counters()["action_done"] == 2
    assert went_on == []


def test_a_plain_action_may_have_an_event_loop_of_its_own(state: Redis) -> None:
    async def inner() -> str:
        await sleep(0)
        return "ran"

    seen: list[str] = []

    async def second(_event: Event, _context: Context) -> None:
        seen.append(await inner())

    def first(_event: Event, _context: Context) -> None:
        seen.append(asyncio.run(inner()))

    deployment = Deployment(state, action(second, name="second"), action(first, name="first"))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert seen == ["ran"] * 4


def test_a_plain_function_that_returns_a_coroutine_is_awaited(state: Redis) -> None:
    """So is a decorated async action whose wrapper is a plain function."""
    seen: list[str] = []

    async def act(event: Event, _context: Context) -> None:
        seen.append(event.type)

    @functools.wraps(act)
    def wrapped(event: Event, context: Context) -> object:
        return act(event, context)

    deployment = Deployment(state, action(wrapped))
    deployment.deliver(sent())
    deployment.run()
    assert seen == ["signature_request_sent"]


def test_a_generator_that_a_call_returns_is_no_work_done(state: Redis) -> None:
    def body(_event: Event, _context: Context) -> Iterator[int]:
        yield 1

    async def async_body(_event: Event, _context: Context) -> AsyncIterator[int]:
        yield 1

    deployment = Deployment(
        state, action(body, name="plain", attempts=1),
        action(async_body, name="async", attempts=1),
    )  # fmt: skip
    deployment.deliver(sent())
    deployment.run()
    assert deployment.reasons() == ["attempts_exhausted"] * 2
    assert all(b"generator" in letter["detail"] for letter in deployment.letters())


@pytest.mark.parametrize("kind", ["return", "exit", "raise", "async"])
def test_a_forked_child_of_an_action_is_no_worker(state: Redis, tmp_path: Path, kind: str) -> None:
    calls = tmp_path / "calls"
    statuses: list[int] = []

    def child() -> object:
        if kind == "exit":
            raise SystemExit(3)
        if kind == "raise":
            raise ValueError("in the child")
        return None

    def act(event: Event, _context: Context) -> object:
        with calls.open("a") as file:
            file.write(f"{event.type} {os.getpid()}\n")
        if event.type.endswith("sent"):
            pid = os.fork()
            if pid == 0:
                return async_child() if kind == "async" else child()
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return None

    async def async_child() -> None:
        await sleep(0)
        raise SystemExit(3)

    deployment = Deployment(state, action(act))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert statuses == [{"return": 0, "exit": 3, "raise": 1, "async": 3}[kind]]
    assert [line.split()[1] for line in calls.read_text().splitlines()] == [str(os.getpid())] * 2
    assert deployment.counters()["action_done"] == 2


def test_a_keyboard_interrupt_of_its_own_is_an_actions_failure(state: Redis) -> None:
    def act(event: Event, _context: Context) -> None:
        if event.type.endswith("sent"):
            raise KeyboardInterrupt

    deployment = Deployment(state, action(act, attempts=1))
    deployment.deliver(sent(), viewed(1))
    deployment.run()
    assert deployment.reasons() == ["attempts_exhausted"]
    assert deployment.counters()["action_done"] == 1


def test_an_answer_that_comes_after_a_timeout_is_no_other_commands_answer(state: Redis) -> None:
    """The limit may strike between a command and its answer, which redis-py leaves for the next one to read."""

    def act(_event: Event, _context: Context) -> None:
        pool = deployment.scripts.redis.connection_pool
        connection = pool.get_connection()
        connection.send_command("BLPOP", "nothing", 1)  # type: ignore[no-untyped-call]  # answers with nil, one second later
        pool.release(connection)
        time.sleep(60)

    deployment = Deployment(state, action(act, attempts=1, timeout_s=0.02))
    deployment.deliver(sent())
    deployment.run()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert deployment.scripts.redis.ping() is True
    assert deployment.reasons() == ["attempts_exhausted"]


def test_a_log_line_points_at_the_applications_own_line(state: Redis) -> None:
    def slow(_event: Event, _context: Context) -> None:
        time.sleep(60)

    def broken(_event: Event, _context: Context) -> None:
        logging.Formatter("%(", validate=True)

    deployment = Deployment(
        state, action(slow, name="slow", attempts=1, timeout_s=0.1), action(broken, name="broken", attempts=1)
    )
    deployment.deliver(sent())
    with capture_logs() as lines:
        deployment.run()
    places = {line["action"]: line["error"] for line in lines if line["event"] == "action.finished"}
    first = slow.__code__.co_firstlineno
    assert places["slow"] == f"ActionTimeout at {HERE}:{first + 1}"
    assert places["broken"] == f"ValueError at {HERE}:{broken.__code__.co_firstlineno + 1}"
