"""Group commit: while one publish is under way, the callbacks that arrive wait for the next one and share it.

One thread publishes: one command, one fsync, one answer for many. A callback that is alone goes at once. Those who wait
are threads (``Seat.cause``), or an event loop that holds no thread meanwhile (``Seat.when_over``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Self

from deedbox.shared.core.envelope import Envelope

BATCH_BYTES: Final = 4 * 1024 * 1024
"""A batch ends with the envelope that reaches this size: Redis is given a second for it."""

NO_ANSWER: Final = "the broker has not answered yet"

Publish = Callable[[Sequence[Envelope]], "str | None"]
"""Publishes a batch; returns None, or why the broker does not have it all."""


class Seat:
    """One callback's place in a batch."""

    __slots__ = ("_call", "_is_open", "ended", "envelope", "error", "is_over")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.ended: str | None = None
        """Why the broker does not have it; None: it has, or that is not known yet."""
        self.error: BaseException | None = None
        self.is_over = False
        self._call: Callable[[], None] | None = None
        self._is_open = threading.Lock()
        self._is_open.acquire()

    @classmethod
    def of(cls, envelope: Envelope, cause: str) -> Self:
        """Return the seat of a callback that is in no batch, and why."""
        seat = cls(envelope)
        seat.end(cause, None)
        return seat

    def end(self, cause: str | None, error: BaseException | None) -> None:
        """Let the one that waits go on."""
        self.ended, self.error = cause, error
        self.is_over = True
        self._is_open.release()
        self._tell()

    def when_over(self, call: Callable[[], None]) -> None:
        """Call something as soon as it is over, in any thread; maybe twice: now, if the end comes at this moment."""
        self._call = call
        if self.is_over:
            self._tell()

    def _tell(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()

    def cause(self, patience_s: float) -> str | None:
        """Return why the broker does not have it, None if it has; waits so long for that. Raises publish's bugs."""
        if not self._is_open.acquire(timeout=max(0.0, patience_s)):
            return NO_ANSWER
        self._is_open.release()
        if self.error is not None:
            raise self.error
        return self.ended


class Batches:
    """The thread that publishes; it starts with the first callback. Safe for threads."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._waiting: SimpleQueue[Seat] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def join(self, envelope: Envelope) -> Seat:
        """Take a seat in the next batch."""
        seat = Seat(envelope)
        self.take(seat)
        return seat

    def take(self, seat: Seat) -> None:
        """Publish a seat of another group with the next batch."""
        self._waiting.put(seat)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deedbox-publish", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            batch = self._boarded()
            cause: str | None = None
            failed: BaseException | None = None
            try:
                cause = self._publish([seat.envelope for seat in batch])
            except BaseException as error:  # noqa: BLE001 - raised again where each of them is asked for
                failed = error
            for seat in batch:
                seat.end(cause, failed)

    def _boarded(self) -> list[Seat]:
        batch, size = [self._waiting.get()], 0
        with suppress(Empty):
            while (size := size + len(batch[-1].envelope.body)) < BATCH_BYTES:
                batch.append(self._waiting.get_nowait())
        return batch
