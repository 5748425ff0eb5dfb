"""One call of an action, as a worker makes it: within its time, ``async`` or not, and judged by the same rules."""

from __future__ import annotations

import atexit
import contextvars
import hashlib
import re
import signal
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from deedbox.shared.core.attempts import Again, Dead, Failure, QueueEntry, after_failure
from deedbox.shared.core.reasons import TimelineKind
from deedbox.testing.callbacks import Callback, seen
from deedbox.workers.actions.interface import ActionFunction, Context, Event, Retry
from deedbox.workers.actions.loading import registered_from
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.lanes.calls import ActionCaller, EventLoop
from deedbox.workers.lanes.claims import context_of
from deedbox.workers.lanes.time_limit import time_limits

Outcome = Literal["done", "retry", "rejected", "error", "timeout"]

NAME_MAX_CHARS: Final = 100
_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)

LONGEST: Final = 1.0
"""A worker draws its waits; here they are the longest that it draws."""

_OUTCOMES: Final[dict[Failure, Outcome]] = {
    Failure.RETRY: "retry",
    Failure.REJECT: "rejected",
    Failure.ERROR: "error",
    Failure.TIMEOUT: "timeout",
}


@dataclass(frozen=True)
class Ran:
    """How a call ended, and what it leads to."""

    outcome: Outcome
    reason: str | None = None
    """What ``Retry`` or ``Reject`` said."""
    after: float | None = None
    """Seconds until the call is made again, the longest wait that a worker draws; None: it is not."""
    emitted: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Type and payload of what ``context.emit`` emitted; empty unless the call is done: only then it takes effect."""
    error: BaseException | None = None
    """What the action raised, if it was neither ``Retry`` nor ``Reject``."""
    dead: str | None = None
    """Why the call became a dead letter; None: it did not."""
    notes: tuple[str, ...] = ()
    """What ``context.note`` noted; empty unless the call is done."""
    context: Context | None = field(default=None, repr=False)
    """What the action received beside the event."""


def run(action: ActionFunction, callback_or_event: Callback | Event, *, attempt: int = 1) -> Ran:
    """Call an action as a worker would. ``attempt``: the number of this attempt, from 1.

    Never raises what the action raises: that is ``Ran.error``. Raises NotVerified if Deedbox would refuse the callback. For
    the main thread only.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    if isinstance(callback_or_event, Callback):
        stored = callback_or_event.identified().stored
        event, fingerprint = seen(stored), stored.fingerprint
    else:
        event, fingerprint = callback_or_event, fingerprint_of(callback_or_event)
    failed_at = event.received_at if attempt > 1 else None
    entry = QueueEntry(fingerprint, event.received_at, failures=attempt - 1, first_failed_at=failed_at)
    return call(chosen(action, event.type), event, entry, event.received_at)[0]


def chosen(action: ActionFunction, event_type: str) -> RegisteredAction:
    """Return the declaration of a function that is meant: of several, the one that wants the type."""
    declared = declared_by(action)
    return next((each for each in declared if each.wants(event_type)), declared[0])


def declared_by(function: ActionFunction) -> list[RegisteredAction]:
    """Return what a function declares. A function inside a test has a name that no setting could give it: it is cut."""
    return [
        replace(each, name=_ODD.sub("", each.name.replace("<locals>.", ""))[-NAME_MAX_CHARS:])
        for each in registered_from(function)
    ]


def fingerprint_of(event: Event) -> str:
    """Return an identity for an event that a test made itself."""
    parts = (event.source, event.type, event.time, event.ordering_key, event.related_signature_id)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def call(
    action: RegisteredAction, event: Event, entry: QueueEntry, now: float
) -> tuple[Ran, Again | Dead | None]:
    """Make one call of an entry at ``now`` (unix seconds). Returns how it ended, and the decision about a failed one."""
    context = context_of(entry, action.name)
    with _alarm_lent(), time_limits():
        failed = _caller.attempt(action, event, context)
    if failed is None:
        notes = tuple(str(note["detail"]) for note in context._notes if note["kind"] == TimelineKind.NOTE)  # noqa: SLF001 - see emitted
        emitted = tuple(context._emitted)  # noqa: SLF001 - what a worker commits
        return Ran("done", emitted=emitted, notes=notes, context=context), None
    failure, error = failed
    asked_s = error.after if isinstance(error, Retry) else None
    verdict = after_failure(entry, failure, action.policy, now, LONGEST, asked_s)
    said = failure in {Failure.RETRY, Failure.REJECT}
    ran = Ran(
        _OUTCOMES[failure],
        reason=str(getattr(error, "reason", error)) if said else None,
        after=verdict.after_s if isinstance(verdict, Again) else None,
        error=None if said else error,
        dead=str(verdict.reason) if isinstance(verdict, Dead) else None,
        context=context,
    )
    return ran, verdict


class _LoopAside(EventLoop):
    """Runs coroutines in a thread: the one of the test may have an event loop that runs."""

    def run(self, awaitable: Awaitable[object], left_s: float, timeout_s: float) -> None:
        raised: list[BaseException] = []
        context = contextvars.copy_context()

        def work() -> None:
            try:
                context.run(super(_LoopAside, self).run, awaitable, left_s, timeout_s)
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                raised.append(error)

        thread = threading.Thread(target=work, name="deedbox.testing")
        thread.start()
        thread.join()
        if raised:
            raise raised[0]


_caller = ActionCaller(_LoopAside())
"""One for all calls: an action's client in a global variable keeps its event loop."""
atexit.register(_caller.loop.close)


@contextmanager
def _alarm_lent() -> Iterator[None]:
    """Put the timer back that somebody else has set, such as pytest-timeout: a call's time limit is the same timer."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run and play work in the main thread only, where the time limit of a call arrives"
        )
    left_s, interval_s = signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()
    try:
        yield
    finally:
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left_s - time.monotonic() + began), interval_s)
