"""How the supervision notices things: its signals, and the end of whoever reads its output."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
TAKEN: Final = (*STOP, signal.SIGCHLD, signal.SIGUSR2)
"""All that the supervisor library installs handlers for."""


def nobody_listens() -> bool:
    """Tell whether our output leads to a pipe, socket or terminal whose other end is closed.

    Each program would fail at its next line of output, and again after each restart.
    """
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _descriptor, found in poll.poll(0))


class _Wakeup:
    """What the library's loop wants of a descriptor that it watches: this one only ends its wait of a second."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        with suppress(BlockingIOError):
            self._end.recv(4096)

    def handle_error(self) -> None:
        """Nothing to do: the worst case is a wait of a second."""


@contextmanager
def waking(watched: dict[int, Any]) -> Iterator[Callable[[], None]]:
    """Let each signal (a child ended, stop) end the loop's wait, which a handler alone would not do.

    ``watched`` is the loop's map of descriptors; yields a function that ends the wait as well.
    """
    ours, signals = socket.socketpair()
    with ours, signals:
        ours.setblocking(False)
        signals.setblocking(False)
        previous = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
        watched[ours.fileno()] = _Wakeup(ours)

        def wake() -> None:
            with suppress(BlockingIOError):  # a full socket wakes as well
                signals.send(b"\0")

        try:
            yield wake
        finally:
            watched.pop(ours.fileno(), None)
            signal.set_wakeup_fd(previous)


@contextmanager
def restored() -> Iterator[None]:
    """Give the signals back to those who had them before the supervision."""
    before = {number: signal.getsignal(number) for number in TAKEN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
