"""What becomes of an action's call: done, tried again, or set aside. Pure; jitter comes in as a number."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.core.values import value

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 600.0
"""Doubling from 1 s reaches 10 min at the 11th step: long enough for an outage to end, short enough to notice."""

WAKE_S: Final = 1.0
"""A call that is due begins within this time if nothing keeps it. It counts, so that ``Retry(after=0)`` has an end."""

GIVE_UP_S: Final = 3 * 86_400.0
"""Default age at which ``Retry`` stops helping: a person should look after a long weekend."""


@value
class QueueEntry:
    """One (event, action) in its queue: a reference to the event, and this action's history with it."""

    fingerprint: str
    enqueued_at: float
    late: bool = False
    failures: int = 0
    """Attempts that ended in an exception."""
    retries: int = 0
    """Times the action asked to be called later."""
    backoffs: int = 0
    """Those of them that named no time: only these make the backoff grow."""
    first_failed_at: float | None = None
    """Unix seconds; later by each time in which no call could begin (``begun``)."""
    replay: int = 0
    """Number of the replay; 0 for the first life."""
    losses: int = 0
    """Processes in a row that ended without an outcome while they had it; ``sweep.lua`` counts, an outcome resets."""
    due_at: float | None = None
    """Unix seconds, when the next call may begin; None: it was never put off."""

    @property
    def attempt(self) -> int:
        """Number of the next attempt, from 1; a ``Retry`` uses none."""
        return self.failures + 1

    def begun(self, at: float) -> QueueEntry:
        """Return the entry for a call that begins now. The time in which it was due and could not begin does not count.

        A pause, stopped workers or a busy lane are no reason to give up.
        """
        if self.due_at is None or self.first_failed_at is None:
            return self
        kept_s = max(0.0, at - self.due_at - WAKE_S)
        return replace(self, first_failed_at=self.first_failed_at + kept_s, due_at=None)

    def idempotency_key(self, action: str) -> str:
        """Return the key that stays the same over retries, crashes and redrives; a replay has its own."""
        suffix = f":replay-{self.replay}" if self.replay else ""
        return f"{self.fingerprint}:{action}{suffix}"


class Failure(StrEnum):
    """How a call failed."""

    RETRY = "retry"
    REJECT = "reject"
    ERROR = "error"
    TIMEOUT = "timeout"


_WINDOWS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
CALLS_MAX: Final = 10_000
"""Of one window: Redis keeps the time of each."""

_RATE: Final = re.compile(r"([1-9][0-9]{0,4})/([smhd])", re.ASCII)


@value
class CallRate:
    """At most so many calls in any window of this length."""

    calls: int
    window_s: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``100/m``. Raises ValueError for anything else."""
        found = _RATE.fullmatch(str(text))
        if found is None or int(found[1]) > CALLS_MAX:
            raise ValueError(
                f"rate is calls per s, m, h or d, such as 100/m, and at most {CALLS_MAX} of them"
            )
        return cls(int(found[1]), _WINDOWS_S[found[2]])


@dataclass(frozen=True, slots=True)
class AttemptPolicy:
    """Bounds of one action."""

    attempts: int = 8
    give_up_s: float = GIVE_UP_S


@dataclass(frozen=True, slots=True)
class Again:
    """The head of the queue waits ``after_s`` seconds, then it is called with ``entry``."""

    after_s: float
    entry: QueueEntry


@dataclass(frozen=True, slots=True)
class Dead:
    """Nothing more will be tried; a person decides."""

    reason: DeathReason


def backoff_s(step: int, jitter: float) -> float:
    """Return the wait before try number ``step`` + 1: doubling, bounded, with full jitter (0..1)."""
    return jitter * min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(step - 1, 20))


def after_failure(
    entry: QueueEntry,
    failure: Failure,
    policy: AttemptPolicy,
    now: float,
    jitter: float,
    after_s: float | None = None,
) -> Again | Dead:
    """Decide what a failed call leads to. ``after_s`` is the wait that a ``Retry`` asked for.

    No wait of a ``Retry`` is longer than what is left until the action gives up.
    """
    first_failed_at = entry.first_failed_at or now
    failed = replace(entry, first_failed_at=first_failed_at, losses=0)
    if failure is Failure.REJECT:
        return Dead(DeathReason.REJECTED)
    if failure is Failure.RETRY:
        left_s = policy.give_up_s - (now - first_failed_at)
        if left_s <= 0:
            return Dead(DeathReason.RETRY_EXPIRED)
        failed = replace(failed, retries=entry.retries + 1)
        if after_s is None:
            failed = replace(failed, backoffs=entry.backoffs + 1)
            after_s = backoff_s(failed.backoffs, jitter)
        return _again(failed, now, min(after_s, left_s))
    failed = replace(failed, failures=entry.failures + 1)
    if failed.failures >= policy.attempts:
        return Dead(DeathReason.ATTEMPTS_EXHAUSTED)
    return _again(failed, now, backoff_s(failed.failures, jitter))


def _again(failed: QueueEntry, now: float, after_s: float) -> Again:
    return Again(after_s, replace(failed, due_at=now + after_s))


CALL_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds: from an action that only notes something to the longest that anybody gives a timeout."""


def bucket_of(took_s: float) -> int:
    """Return the number of the bucket; ``len(CALL_BOUNDS_S)`` for what took longer than all bounds."""
    return bisect_left(CALL_BOUNDS_S, took_s)
