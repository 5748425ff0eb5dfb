"""Group commit by the event loop that serves: it sends a batch and goes on, and reads the answer when it is there.

Handing a batch to a thread and back wakes two threads, and at a low rate that is a quarter of the way from a callback to its
acknowledgement. Whatever is not as usual goes to the thread all the same, which may wait: connecting, large batches,
connections that broke. What it then publishes a second time is absorbed downstream.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from deedbox.ingress.publish.batches import NO_ANSWER, Batches, Seat
from deedbox.ingress.publish.circuit import Circuit
from deedbox.shared.core.envelope import Envelope

BATCH_BYTES: Final = 16 * 1024
"""A batch ends with the envelope that reaches this size, and larger envelopes go to the thread: what the system takes from
a sender at once, without a wait, is a multiple of it."""

ANSWER_S: Final = 1.0
"""So long a batch may be under way, as in the thread."""

LOOK_AFTER_S: Final = 0.005
"""A loop that has been busy for so long looks for the answer between two requests."""


class BrokerLine(Protocol):
    """A connection to the broker on which one batch at a time is under way. Errors of any type: it broke."""

    descriptor: int
    """Readable when there is an answer, or the end of the connection."""

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Send a batch."""

    def is_answered(self) -> bool:
        """Return whether the broker has confirmed the batch; does not wait."""

    def close(self) -> None:
        """Close it."""


@runtime_checkable
class HasLines(Protocol):
    """A broker that an event loop can publish to."""

    def line(self) -> BrokerLine | None:
        """Open a connection; None: not with these settings. May wait. Raises Unavailable."""


class LoopBatches:
    """What one event loop publishes. Made and used in its thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: HasLines,
        circuit: Circuit | None,
        thread: Batches,
        failed: Callable[[], None],
    ) -> None:
        """``circuit``: asked before each batch. ``thread``: publishes what this cannot. ``failed``: counts a failure."""
        self._loop = loop
        self._broker = broker
        self._circuit = circuit
        self._otherwise = thread
        self._failed = failed
        self._ident = threading.get_ident()
        self._waiting: deque[Seat] = deque()
        self._batch: list[Seat] = []
        """Under way."""
        self._ticket: int | None = None
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._line: BrokerLine | None = None
        self._is_opening = False

    def is_here(self) -> bool:
        """Return whether the caller is the loop."""
        return threading.get_ident() == self._ident

    def join(self, envelope: Envelope) -> Seat:
        """Take a seat in the next batch."""
        if self._line is None or len(envelope.body) > BATCH_BYTES:
            if self._line is None:
                self._open()
            return self._otherwise.join(envelope)
        seat = Seat(envelope)
        self._waiting.append(seat)
        if not self._batch:
            self._send(self._line)
        return seat

    def look(self) -> None:
        """Read the answer, if the loop had no time for it."""
        if self._batch and time.monotonic() - self._sent_at > LOOK_AFTER_S:
            self._read()

    def _open(self) -> None:
        """Let a thread open a line."""
        if not self._is_opening:
            self._is_opening = True
            opening = self._loop.run_in_executor(None, self._broker.line)
            opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Future[BrokerLine | None]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._is_opening = False  # the next callback tries again
            return
        self._line = opening.result()
        if self._line is not None:  # else it stays as it is: no line with these settings
            self._is_opening = False
            self._loop.add_reader(self._line.descriptor, self._read)

    def _send(self, line: BrokerLine) -> None:
        """Send what waits, as much as is a batch."""
        self._ticket = None if self._circuit is None else self._circuit.admit()
        self._batch, size = [], 0
        while self._waiting and size < BATCH_BYTES:
            self._batch.append(self._waiting.popleft())
            size += len(self._batch[-1].envelope.body)
        if self._circuit is not None and self._ticket is None:
            self._hand_over()
            return
        self._sent_at = time.monotonic()
        self._timer = self._loop.call_later(ANSWER_S, self._late)
        try:
            line.send([seat.envelope for seat in self._batch])
        except Exception:  # noqa: BLE001 - client libraries raise what they like; the thread finds out
            self._broke()

    def _read(self) -> None:
        line = self._line
        if line is None:
            return
        try:
            # Without a batch, only the end of the connection can be read.
            answered = line.is_answered()
        except Exception:  # noqa: BLE001 - see _send
            self._broke()
            return
        if not answered:
            return
        self._note(lambda circuit, ticket: circuit.succeeded(ticket))
        batch, self._batch = self._batch, []
        if self._waiting:
            self._send(line)  # first: it is under way while the others are answered
        for seat in batch:
            seat.end(None, None)

    def _late(self) -> None:
        """Give up waiting for an answer."""
        self._note(lambda circuit, ticket: circuit.failed(ticket, NO_ANSWER))
        self._failed()
        batch, self._batch = self._batch, []
        self._broke()
        for seat in batch:
            seat.end(NO_ANSWER, None)

    def _broke(self) -> None:
        """Let go of the line, and hand over all that has no answer."""
        line, self._line = self._line, None
        if line is not None:
            self._loop.remove_reader(line.descriptor)
            line.close()
        self._note(lambda circuit, ticket: circuit.abandoned(ticket))
        self._hand_over()

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        for seat in (*batch, *self._waiting):
            self._otherwise.take(seat)
        self._waiting.clear()

    def _note(self, how: Callable[[Circuit, int], None]) -> None:
        """Tell the circuit breaker how a batch ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ticket, self._ticket = self._ticket, None
        if self._circuit is not None and ticket is not None:
            how(self._circuit, ticket)
