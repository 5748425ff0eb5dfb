"""Ends this process if C code blocks Python's interpreter: no thread can then end the call or renew its lease.

A thread in C (``faulthandler``) waits, and needs no interpreter. A Python thread restarts its timer again and again. Before
the process ends, the stacks of all threads are written to standard error.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from deedbox.shared.runtime.stopping import end_process
from deedbox.workers.lanes.ledger import ClaimLedger

KEPT_MAX_S: Final = 7.0
"""Longest that a call may keep the interpreter: its process is gone before the lease (10 s) ends and another begins."""

BEAT_S: Final = 1.0

_STANDARD_ERROR: Final = 2


class CallGuard:
    """What sees to calls that take long. This one leaves out what a program that is no worker cannot bear."""

    def __init__(self) -> None:
        self.ledger = ClaimLedger()
        """What the process has claimed, for the process beside it."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Make a block in which calls run."""
        yield

    def end(self) -> None:
        """End this process."""
        end_process()


class Watchdog(CallGuard):
    """The guard of a worker process: one per process."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._wanted = False
        self._wound_up = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """End the process if the interpreter is kept for ``KEPT_MAX_S`` inside the block."""
        with self._changed:
            self._wanted = True
            if not self._wound_up:
                self._wind_up()
                self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="watchdog", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._wanted = False

    def _wind_up(self) -> None:
        faulthandler.dump_traceback_later(KEPT_MAX_S, exit=True, file=_STANDARD_ERROR)
        self._wound_up = True

    def _beat(self) -> None:
        while True:
            with self._changed:
                if self._wanted:
                    self._wind_up()
                else:
                    faulthandler.cancel_dump_traceback_later()
                    self._wound_up = False
                    while not self._wound_up:
                        self._changed.wait()
            time.sleep(BEAT_S)
