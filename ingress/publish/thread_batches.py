"""Group commit between the threads of a process: whoever comes while a publish is under way shares the next one.

The first to come publishes, in its own thread. Whoever comes meanwhile takes a seat; when the broker has answered, the
first of those publishes for all of them: one command, one fsync, one answer for many. There is no thread in between,
because changing threads costs more than a publish, and nobody waits for company: a callback that is alone goes at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from deedbox.shared.core.envelope import Envelope

BATCH_BYTES: Final = 4 * 1024 * 1024
"""A batch ends with the envelope that reaches this size: Redis is given a second for it."""

NO_ANSWER: Final = "the broker has not answered yet"

Ended = Callable[[str | None, BaseException | None], None]
Begin = Callable[[Sequence[Envelope], Ended], None]
"""Publishes a batch, before it returns or later, and calls ``Ended`` once: with None or why the broker does not have it
all, or with a bug."""


class Seat:
    """One callback's place in a batch. For the thread that got it from ``Sharing.join``, which has to ask ``cause``."""

    __slots__ = ("_sharing", "_turn", "ended", "envelope", "error", "is_done", "leads")

    def __init__(self, sharing: Sharing, envelope: Envelope) -> None:
        self.envelope = envelope
        self.ended: str | None = None
        """Why the broker does not have it; None: it has, or that is not known yet."""
        self.error: BaseException | None = None
        self.is_done = False
        self.leads = False
        """Whether its thread is to publish the next batch."""
        self._sharing = sharing
        self._turn = threading.Lock()
        self._turn.acquire()

    def wake(self) -> None:
        """Let its thread go on: the batch has ended, or it is to publish the next."""
        self._turn.release()

    def cause(self, patience_s: float) -> str | None:
        """Return why the broker does not have it, None if it has; waits so long for that. Raises publish's bugs.

        May publish for others, and then takes as long as that does.
        """
        until = time.monotonic() + patience_s
        while not self.is_done:
            if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
                return self._sharing.leave(self)
            if self.leads:
                self._sharing.lead(self)
        if self.error is not None:
            raise self.error
        return self.ended


class Sharing:
    """Who publishes, and who waits; safe for threads. One batch is under way at a time."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._waiting: deque[Seat] = deque()
        self._is_busy = False
        """Whether a batch is under way, or a thread was told to begin one."""

    def join(self, envelope: Envelope) -> Seat:
        """Publish an envelope, or take a seat for the next batch if others are published just now."""
        seat = Seat(self, envelope)
        with self._lock:
            if self._is_busy:
                self._waiting.append(seat)
                return seat
            self._is_busy = True
        self.lead(seat)
        return seat

    def lead(self, seat: Seat) -> None:
        """Publish an envelope together with those that wait."""
        with self._lock:
            seat.leads = False
            batch = self._boarded(seat)
        try:
            self._begin(
                [each.envelope for each in batch], lambda cause, error: self._end(batch, cause, error)
            )
        except BaseException as error:  # noqa: BLE001 - raised again where each of them is asked for
            self._end(batch, None, error)

    def leave(self, seat: Seat) -> str | None:
        """Wait no longer. Returns the cause, as far as it is known. Raises publish's bugs."""
        successor = None
        with self._lock:
            if seat.is_done:
                if seat.error is not None:
                    raise seat.error
                return seat.ended
            if seat.leads:  # it was told so in this very moment
                seat.leads = False
                successor = self._successor()
            elif seat in self._waiting:
                self._waiting.remove(seat)
            else:  # under way: it may still arrive
                return NO_ANSWER
            seat.is_done, seat.ended = True, NO_ANSWER
        if successor is not None:
            successor.wake()
        return NO_ANSWER

    def _boarded(self, seat: Seat) -> list[Seat]:
        batch, size = [seat], len(seat.envelope.body)
        while self._waiting and size < BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].envelope.body)
        return batch

    def _end(self, batch: Sequence[Seat], cause: str | None, error: BaseException | None) -> None:
        with self._lock:
            if batch[0].is_done:
                return
            for seat in batch:
                seat.ended, seat.error, seat.is_done = cause, error, True
            successor = self._successor()
        # First of all the next publish: it waits for the broker while the others answer their senders.
        if successor is not None:
            successor.wake()
        for seat in batch:
            seat.wake()

    def _successor(self) -> Seat | None:
        """Return who has to publish next, and has to be woken; None: nobody waits."""
        if not self._waiting:
            self._is_busy = False
            return None
        seat = self._waiting.popleft()
        seat.leads = True
        return seat
