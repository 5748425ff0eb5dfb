"""How the supervision notices things: its signals, and that the reader of its output has gone."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def reader_has_gone() -> bool:
    """Return whether our output leads to a pipe, socket or terminal whose other end is closed.

    Each program would fail at its next line of output, and again after each restart.
    """
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _descriptor, found in poll.poll(0))


class Caught:
    """The signals that arrived. Python writes their numbers to a socket, so that none is lost between two looks."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours = ours

    def wait(self, timeout_s: float) -> list[int]:
        """Wait for signals (a stop, a child's end) for at most so long; return their numbers."""
        self._ours.settimeout(max(0.001, timeout_s))
        try:
            return list(self._ours.recv(4096))
        except TimeoutError:
            return []


@contextmanager
def caught() -> Iterator[Caught]:
    """Catch stops and the ends of children within the block. A SIGHUP that is ignored (``nohup``) stays so."""
    numbers = [signal.SIGCHLD, *STOP]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        descriptor = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, _noted) for number in numbers}
        try:
            yield Caught(ours)
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: that a handler exists makes Python write the number to the socket."""
