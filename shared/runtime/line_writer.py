"""Writes lines to a descriptor from a thread, so that no process waits for the program that reads its log.

A terminal that was stopped (Ctrl-S), a log shipper that hangs and a full disk all block a process that writes a line.
Here only a thread is blocked. Lines wait for it in a bounded queue; further ones are dropped, and the next line that
fits says how many.
"""

from __future__ import annotations

import atexit
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from deedbox.shared.runtime.forks import call_in_children

BYTES_MAX: Final = 4 * 1024 * 1024
"""What may wait: some ten thousand lines."""

GATHER_S: Final = 0.01
"""So long lines are gathered before they are written together: a thread that wakes for each would cost more than the
line. A killed process loses what it logged since then."""

LAST_WORDS_S: Final = 0.5
"""So long the end of a process waits for what it has logged."""

ATOMIC_BYTES: Final = 4096
"""So much a pipe takes at once (PIPE_BUF, Linux): lines of several processes into one pipe do not mix."""


def _dropped(count: int) -> str:
    return f"{count} lines dropped: the log was not read\n"


class LineWriter(io.TextIOBase):
    """A stream of text whose ``write`` never waits; safe for threads, signal handlers and forks.

    A forked child begins with an empty queue and its own thread: what its parent has queued, its parent writes.
    """

    def __init__(self, descriptor: int) -> None:
        """Start nothing yet."""
        super().__init__()
        self._descriptor = descriptor
        self.dropped_line: Callable[[int], str] = _dropped
        """Makes the line that says how many lines were dropped."""
        self._start_anew()
        call_in_children(self._start_anew)
        atexit.register(self.drain, LAST_WORDS_S)

    def _start_anew(self) -> None:
        # SimpleQueue, because a signal handler may log while its own thread is inside `put`.
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()
        self._waiting_bytes = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue some lines; they are written soon, or dropped and counted."""
        data = _encoded(text)
        with self._lock:
            if self._waiting_bytes + len(data) > BYTES_MAX:
                self._dropped += text.count("\n") or 1
                return len(text)
            count, self._dropped = self._dropped, 0
            if count:
                data = _encoded(self.dropped_line(count)) + data
            self._waiting_bytes += len(data)
        self._queue.put(data)
        if self._thread is None:
            self._start()
        return len(text)

    def flush(self) -> None:
        """Do nothing: a flush would be a wait. See ``drain``."""

    def drain(self, patience_s: float) -> bool:
        """Wait until everything queued so far is written; returns whether it was, within so many seconds."""
        if self._thread is None:
            return True
        written = threading.Event()
        self._queue.put(written)
        return written.wait(patience_s)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether a person reads."""
        return os.isatty(self._descriptor)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written."""
        return "utf-8"

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._queue,), name="log", daemon=True)
                with suppress(RuntimeError):  # the interpreter ends, or the system has no thread left
                    thread.start()
                    self._thread = thread

    def _run(self, queue: SimpleQueue[bytes | threading.Event]) -> None:
        while True:
            found = [queue.get()]
            time.sleep(GATHER_S)
            with suppress(Empty):
                while True:
                    found.append(queue.get_nowait())
            for each in _grouped(found):
                if isinstance(each, bytes):
                    self._write_all(each)
                    with self._lock:
                        self._waiting_bytes -= len(each)
                else:
                    each.set()

    def _write_all(self, data: bytes) -> None:
        with suppress(OSError):  # a reader that is gone, a full disk: there is no place to report it
            while data:
                data = data[os.write(self._descriptor, data) :]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _apart(found: Sequence[bytes | threading.Event]) -> Iterator[bytes | threading.Event]:
    """Part texts of many lines."""
    for each in found:
        if isinstance(each, bytes) and len(each) > ATOMIC_BYTES:
            yield from each.splitlines(keepends=True)
        else:
            yield each


def _grouped(found: Sequence[bytes | threading.Event]) -> Iterator[bytes | threading.Event]:
    """Join lines, as many as a pipe takes at once."""
    group = b""
    for each in _apart(found):
        if isinstance(each, bytes) and len(group) + len(each) <= ATOMIC_BYTES:
            group += each
            continue
        if group:
            yield group
            group = b""
        if isinstance(each, bytes) and len(each) <= ATOMIC_BYTES:
            group = each
        else:
            yield each
    if group:
        yield group
