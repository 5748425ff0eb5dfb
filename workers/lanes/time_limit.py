"""The time limit of a call, which user code cannot swallow."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class ActionTimeout(BaseException):
    """The call took longer than its ``timeout_s``. No ``Exception``, so that ``except Exception`` does not catch it."""

    def __init__(self, timeout_s: float, told: str = "") -> None:
        super().__init__(told or f"the call took longer than {timeout_s:g} s")


class StopNow(KeyboardInterrupt):
    """The process was asked a second time to stop: it does not wait for the call."""


_armed: list[float] = []
"""The limit of the call that runs."""


def _expire(_signal: int, _frame: FrameType | None) -> None:
    # Once only, and only inside: a signal that lands while a call ends must not raise in the commit that follows.
    if _armed:
        raise ActionTimeout(_armed.pop())


@contextmanager
def time_limits() -> Iterator[None]:
    """Use ``time_limit`` in the block. Afterwards the process's own handler of SIGALRM is back."""
    before = signal.getsignal(signal.SIGALRM)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


class time_limit:  # noqa: N801 - read as a function
    """Raise ActionTimeout in the block after ``timeout_s`` seconds. Main thread only (SIGALRM); within ``time_limits``."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        # For every call: the one before may have left its own handler. Not by ``signal``, which looks for the handler among
        # the names of its enumerations, and for that takes five times as long.
        _signal.signal(signal.SIGALRM, _expire)
        _armed[:] = [self._timeout_s]
        signal.setitimer(signal.ITIMER_REAL, self._timeout_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _armed.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)
