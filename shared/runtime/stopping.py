"""Asking a process to stop, from inside a signal handler, and ending one that does not."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from deedbox.shared.runtime import logs
from deedbox.shared.runtime.line_writer import LineWriter

STOP_WITHIN_S: Final = 8.0
"""From a request to stop until a process ends itself, whatever it is doing: supervisors kill after 10 s."""

FAREWELL_S: Final = 1.0
"""For its last words to Redis, which may be away."""

ENDED_ITSELF: Final = 70
"""Exit status of a process that ended itself because a call in it did not end (EX_SOFTWARE)."""

LAST_LINES_S: Final = 0.5
"""For the last lines of the log, which may have no reader."""

log = logs.get("stopping")


def ask(stop: threading.Event) -> None:
    """Set the event from its own thread; for signal handlers.

    A handler runs in the main thread, between two of its steps. If that was just about to wait for the event, it holds
    the event's lock, and ``set`` in the handler would wait for ever for what its own thread holds.
    """
    threading.Thread(target=stop.set, name="stop", daemon=True).start()


def end_within(seconds: float, farewell: Callable[[], object], status: int = 0) -> None:
    """End this process after so many seconds, if it still lives then. ``farewell`` is called before, for a second."""

    def end() -> None:
        time.sleep(seconds)
        log.warning("process.ended", after_s=seconds)
        last = threading.Thread(target=farewell, name="farewell", daemon=True)
        last.start()
        last.join(FAREWELL_S)
        end_process(status)

    threading.Thread(target=end, name="end", daemon=True).start()


def end_process(status: int = ENDED_ITSELF) -> NoReturn:
    """End this process now: nothing is waited for, no thread and no lock."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if isinstance(sys.stderr, LineWriter):
        sys.stderr.drain(LAST_LINES_S)
    os._exit(status)
