"""One call of an action: a plain function or an ``async`` one, within its time, and only in the process that made it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import time
import traceback
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Final, NoReturn

from structlog.contextvars import bind_contextvars, reset_contextvars

from deedbox.shared.core.attempts import Failure
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.runtime import telemetry
from deedbox.shared.runtime.stopping import end_process
from deedbox.shared.runtime.user_line import standing
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.actions.snapshots import filled
from deedbox.workers.lanes.time_limit import ActionTimeout, StopNow, time_limit

LEAST_S: Final = 0.001
"""What is left at least of an async call's time once its coroutine is there."""


class EventLoop:
    """The event loop of this process: kept between calls, so that an action's clients keep their connections."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self.task: asyncio.Task[Any] | None = None
        """The call that runs in it."""

    def run(self, awaitable: Awaitable[object], left_s: float, timeout_s: float) -> None:
        """Run to the end; cancel after ``left_s`` of the limit. Raises ActionTimeout, and what the call raises."""
        self._runner = self._runner or asyncio.Runner()
        try:
            self._runner.run(self._bounded(awaitable, left_s, timeout_s), context=contextvars.copy_context())
        except (Exception, ActionTimeout, asyncio.CancelledError):
            raise
        except (
            BaseException
        ):  # sys.exit() in a task stops the loop in the middle: what is left in it must not go on
            self.close()
            raise
        finally:
            self.task = None

    def close(self) -> None:
        """Close the loop; the next call opens another."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    async def _bounded(self, awaitable: Awaitable[object], left_s: float, timeout_s: float) -> None:
        self.task = asyncio.current_task()
        before = asyncio.all_tasks()
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                await awaitable
        except TimeoutError as error:
            if not limit.expired():
                raise  # the call's own
            # Up to Python 3.11.3 the cancellation, which knows the action's line, is only the context.
            cancelled = error.__cause__ or error.__context__ or error
            raise ActionTimeout(timeout_s).with_traceback(cancelled.__traceback__) from None
        finally:
            started = asyncio.all_tasks() - before
            for task in started:  # as asyncio.run does: nothing of a call outlives it
                task.cancel()
            await asyncio.gather(*started, return_exceptions=True)


class ActionCaller:
    """Calls actions in the main thread, where time limits reach them. One per process."""

    def __init__(self, loop: EventLoop | None = None) -> None:
        self.loop = loop or EventLoop()

    def traced(
        self, action: RegisteredAction, event: Event, context: Context, stored: StoredEvent
    ) -> tuple[tuple[Failure, BaseException] | None, str]:
        """Call the action under the callback's trace id, in a span if it has any. Returns the failure and the span's id."""
        # What the action and its libraries log meanwhile carries the trace id too.
        token = bind_contextvars(trace_id=stored.trace_id)
        try:
            spans = telemetry.spans()
            span = None if spans is None else spans.resume("action.call", stored.trace_id, stored.span_id)
            if span is None:
                return self.attempt(action, event, context), ""
            with span.running():
                span.set(
                    action=action.name, lane=action.lane, event_type=event.type, source=event.source,
                    ordering_key=event.ordering_key, attempt=context.attempt, late=event.late,
                )  # fmt: skip
                context.traceparent = span.traceparent
                failed = self.attempt(action, event, context)
                if failed is not None:
                    span.set(outcome=str(failed[0]))
                    if failed[0] is not Failure.RETRY:
                        span.fail(type(failed[1]).__name__)
                return failed, span.span_id
        finally:
            reset_contextvars(**token)

    def attempt(
        self, action: RegisteredAction, event: Event, context: Context
    ) -> tuple[Failure, BaseException] | None:
        """Call an action. Returns how it failed, if it did. Raises StopNow."""
        worker, error = os.getpid(), None
        try:
            self._call(action, event, context)
        except BaseException as raised:  # noqa: BLE001 - sys.exit() in user code must not end the batch, nor loop for ever
            error = raised
        if os.getpid() != worker:
            _end_child(error)
        match error:
            case None:
                return None
            case StopNow():  # an impatient operator's second signal, no failure of the action
                raise error
            case Retry():
                return Failure.RETRY, error
            case Reject():
                return Failure.REJECT, error
            case ActionTimeout():
                return Failure.TIMEOUT, error
            case _:
                return Failure.ERROR, error

    def standing(self) -> TracebackType | None:
        """Return which line the call is at now, as a traceback; for another thread."""
        return standing(ActionCaller._call.__code__, self.loop.task)

    def _call(self, action: RegisteredAction, event: Event, context: Context) -> None:
        if not _is_meant_for(action, event):
            context.note("passed over: its conditions (where) do not hold")
            return
        until = time.monotonic() + action.timeout_s
        with time_limit(action.timeout_s):
            result = action.function(event, context)
        if result is None:
            return
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise TypeError(
                "the action returned a generator, whose body has not run; return after the work is done"
            )
        if inspect.isawaitable(result):
            self.loop.run(result, max(LEAST_S, until - time.monotonic()), action.timeout_s)


def _is_meant_for(action: RegisteredAction, event: Event) -> bool:
    if not action.where.conditions:
        return True
    recall = event.recall or list
    return action.where.accepts(
        event.source, test_mode=event.test_mode, payload=event.payload, known=lambda: filled(recall())
    )


def _end_child(error: BaseException | None) -> NoReturn:
    """End a process that the action forked: it is no worker, whatever comes out of the call in it."""
    status = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
    end_process(status & 0xFF)
