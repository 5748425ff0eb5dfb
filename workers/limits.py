"""The time limit of a call, which user code cannot swallow."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class ActionTimeout(BaseException):
    """The call took longer than its ``timeout_s``. No ``Exception``, so that user code cannot swallow it."""


@contextmanager
def time_limit(timeout_s: float) -> Iterator[None]:
    """Raise ActionTimeout in the block after ``timeout_s`` seconds. Main thread only (SIGALRM)."""
    armed = True

    def expire(_signal: int, _frame: FrameType | None) -> None:
        # Once only: a signal that lands while this block ends must not raise in the commit that follows.
        nonlocal armed
        if armed:
            armed = False
            raise ActionTimeout(f"the call took longer than {timeout_s:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
