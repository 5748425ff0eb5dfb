"""Where an accepted callback goes: to the broker, or while that is down, into the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from deedbox.ingress.monitor.counters import Intake
from deedbox.ingress.monitor.readiness import BREAKER_OPEN
from deedbox.ingress.publish.background import Background, Expose, Link
from deedbox.ingress.publish.batches import Batches, Seat
from deedbox.ingress.publish.broker_memory import NO_ROOM, Room
from deedbox.ingress.publish.circuit import Circuit
from deedbox.ingress.publish.in_loop import HasLines, LoopBatches
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.runtime.forks import call_in_children
from deedbox.shared.settings import Settings

PATIENCE_S: Final = 1.8
"""For broker and spool together: 2 s are promised."""

SPOOL_MIN_S: Final = 0.4
"""The spool gets at least this much, however long the broker took."""

HEDGE_S: Final = 0.1
"""So long a request waits for the broker. The publish continues; a repeat from the spool is absorbed downstream."""

_NOT_TAKEN: Final = "the broker did not take the callback; send it again later"


@dataclass(frozen=True, slots=True)
class Stored:
    """A callback that is durable somewhere."""

    spooled: bool
    cause: str | None = None
    """Why it went to the spool."""


class NotStored(Exception):
    """A callback that is durable nowhere that we know of."""

    def __init__(self, reason: Refusal, detail: str, cause: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.cause = cause


class Storing:
    """A callback on its way to where it is durable."""

    def __init__(self, handover: Handover, envelope: Envelope, seat: Seat, until: float) -> None:
        """``until``: when ``wait`` ends at the latest, by the monotonic clock."""
        self._handover = handover
        self._envelope = envelope
        self._seat = seat
        self._until = until
        self.patience_s = handover.patience_s
        """So long a caller that holds no thread waits before it lends one to ``wait``."""

    @property
    def is_published(self) -> bool:
        """Whether the broker has it: ``wait`` returns at once."""
        self._handover.look()
        return self._seat.is_over and self._seat.ended is None

    def when_over(self, call: Callable[[], None]) -> None:
        """Call something, maybe twice and in any thread, once the broker has answered for this callback."""
        self._seat.when_over(call)

    def wait(self) -> Stored:
        """Wait until it is durable, 2 s at most. Raises NotStored, and the bugs of publishing."""
        return self._handover.stored(self._envelope, self._seat, self._until)


class Handover:
    """Publishes or spools; safe for threads.

    With DEEDBOX_SPOOL=off it only publishes, and drains what was spooled before.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Link,
        monotonic: Callable[[], float] = time.monotonic,
        intake: Intake | None = None,
    ) -> None:
        """``intake``: what the reports tell of."""
        self._intake = intake or Intake()
        self._settings = settings
        self._broker = broker
        self._monotonic = monotonic
        self._folder = SpoolDir(settings.data_dir)
        self._spool = Spool(self._folder, settings.spool_max_bytes) if settings.spool == "on" else None
        self._start_anew()
        call_in_children(self._start_anew)

    def _start_anew(self) -> None:
        """Begin, here and in a forked child: locks may have been held at the fork, threads are not inherited."""
        self._circuit = Circuit(self._monotonic)
        self._room = Room(self._broker)
        self._batches = Batches(self._publish_batch)
        self._loop_batches: LoopBatches | None = None
        self._background = Background(
            self._settings, self._broker, self._circuit, self._room, self._folder, self._spool, self._intake
        )

    def publish_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let an event loop publish what it begins to store. Call it in its thread; the loop must never ``wait`` then."""
        if isinstance(self._broker, HasLines):
            circuit = self._circuit if self._spool is not None else None
            self._loop_batches = LoopBatches(
                loop, self._broker, circuit, self._batches, self._intake.publish_failed
            )

    def look(self) -> None:
        """Read an answer of the broker that is there; for an event loop between two requests."""
        if self._loop_batches is not None and self._loop_batches.is_here():
            self._loop_batches.look()

    def expose(self, expose: Expose) -> None:
        """Keep a metrics port up to date, from ``start`` on. For the process that serves, after the fork."""
        self._background.expose = expose

    def start(self) -> None:
        """Begin to report and to empty the spool, in the process that serves; also of what dead ones left behind."""
        self._background.start()

    def close(self, patience_s: float = 2.0) -> None:
        """Drain what can be drained in so many seconds, and let go of the rest; for the end of a process."""
        self._background.close(patience_s)

    def begin(self, envelope: Envelope) -> Storing:
        """Begin to make a callback durable."""
        self.start()
        return Storing(self, envelope, self._seat(envelope), self._monotonic() + PATIENCE_S)

    def store(self, envelope: Envelope) -> Stored:
        """Make a callback durable. Raises NotStored within 2 s."""
        return self.begin(envelope).wait()

    def stored(self, envelope: Envelope, seat: Seat, until: float) -> Stored:
        """Wait for the publish of a callback, and if that takes long or fails, spool it. Raises NotStored."""
        cause = seat.cause(until - PATIENCE_S + self.patience_s - self._monotonic())
        if cause is None:
            return Stored(spooled=False)
        if self._spool is None:
            raise NotStored(Refusal.BROKER_UNAVAILABLE, _NOT_TAKEN, cause)
        return self._keep(self._spool, envelope, seat, cause, until)

    def _seat(self, envelope: Envelope) -> Seat:
        """Take a seat in the next batch, unless it is known that this would be a wait for nothing."""
        if self._spool is not None and self._room.is_full:
            return Seat.of(envelope, NO_ROOM)
        if self._spool is not None and not self._circuit.admits():
            return Seat.of(envelope, BREAKER_OPEN)
        if self._loop_batches is not None and self._loop_batches.is_here():
            return self._loop_batches.join(envelope)
        return self._batches.join(envelope)

    def _publish_batch(self, envelopes: Sequence[Envelope]) -> str | None:
        ticket = None
        # Without a spool there is nothing better to do than to try, and no drain that would close the breaker again.
        if self._spool is not None:
            ticket = self._circuit.admit()
            if ticket is None:
                return BREAKER_OPEN
        return self._publish(lambda: self._broker.publish_many(envelopes), ticket)

    def _keep(self, spool: Spool, envelope: Envelope, seat: Seat, cause: str, until: float) -> Stored:
        """Spool what the broker has not taken so far. Raises NotStored."""
        try:
            spool.append(envelope, max(SPOOL_MIN_S, until - self._monotonic()))
        except NotSpooled as error:
            # A slow broker is still better than none, and so is an almost full one.
            if seat.ended == NO_ROOM:
                seat = self._batches.join(envelope)
            ended = seat.cause(max(0.0, until - self._monotonic()))
            if ended is None:
                return Stored(spooled=False)
            detail = (
                f"neither the broker nor the spool took the callback ({error.reason}); send it again later"
            )
            raise NotStored(error.reason, detail, ended) from None
        return Stored(spooled=True, cause=cause)

    @property
    def patience_s(self) -> float:
        """So long a callback waits for the broker alone."""
        return HEDGE_S if self._spool else PATIENCE_S

    @property
    def has_spool(self) -> bool:
        """Whether callbacks go to a spool while the broker is down."""
        return self._spool is not None

    @property
    def publishes(self) -> bool:
        """Whether callbacks go to the broker: its circuit breaker is closed."""
        return self._circuit.is_closed

    def broker_warning(self) -> str | None:
        """Return why callbacks go to the spool although the broker is well, or None."""
        return self._room.warning if self._spool else None

    def spool_trouble(self) -> tuple[Refusal, str] | None:
        """Return why the spool would not take a callback now, or None."""
        trouble = self._spool.trouble() if self._spool else None
        return (trouble.reason, str(trouble)) if trouble else None

    def _publish(self, publish: Callable[[], None], ticket: int | None) -> str | None:
        """Publish. Returns None, or why the broker does not have it. ``ticket``: the breaker's, if it was asked."""
        try:
            publish()
        except RefusedForCause as error:
            if ticket is not None:
                self._circuit.succeeded(ticket)  # it answered
            return str(error)
        except Unavailable as error:
            if ticket is not None:
                self._circuit.failed(ticket, str(error))
            self._intake.publish_failed()
            return str(error)
        except BaseException:
            if ticket is not None:
                self._circuit.abandoned(ticket)
            raise
        if ticket is not None:
            self._circuit.succeeded(ticket)
        return None
