"""Prints lines for a person without ever waiting for the terminal."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from queue import Full, Queue
from typing import Final

LINES_MAX: Final = 1000
"""Lines that wait for a terminal that stalls; further ones are dropped."""

LAST_WORDS_S: Final = 1.0


class Speaker:
    """Writes lines to standard output from its own thread.

    A terminal that stalls (Ctrl-S, ``stty tostop``) or was closed must not keep the processes from being restarted
    and stopped. The lines go to the descriptor itself: a thread that is stuck in Python's own buffer would keep the
    process from ending.
    """

    def __init__(self) -> None:
        self._lines: Queue[str | None] = Queue(LINES_MAX)
        self._thread = threading.Thread(target=self._write, name="speaker", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """Print a line soon."""
        with suppress(Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Wait a moment for what was said."""
        with suppress(Full):
            self._lines.put_nowait(None)
            self._thread.join(LAST_WORDS_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            rest = f"{line}\n".encode(errors="backslashreplace")
            with suppress(OSError):
                while rest:
                    rest = rest[os.write(1, rest) :]
