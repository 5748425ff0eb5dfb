"""Group commit: while one publish is under way, all callbacks that arrive wait for the next one and share it.

For the event loop of the ASGI worker. On a Redis, batches go over a ``RedisPipe`` that the loop itself writes to and reads
from. Everything else goes by one thread, so that the loop never waits: other brokers, a line that is not there yet or
broke, a batch that is too large for it. What the broker does not take goes the way that threads have, through
``Handover``: breaker, spool, and the same answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future as Outcome
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from deedbox.ingress.publish.batches import NO_ANSWER
from deedbox.ingress.publish.handover import HEDGE_S, Handover, Stored
from deedbox.ingress.publish.redis_pipe import LINE_BYTES, RedisPipe
from deedbox.shared.broker.redis_broker import TIMEOUT_S as REDIS_TIMEOUT_S
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable

BATCH_MAX: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024

OVERHEAD_BYTES: Final = 512
"""What a message has beside its body, at most; the body itself may grow by half."""

TURNS_MAX: Final = 4
"""So many turns of the loop, some microseconds each, a batch waits at most for what has arrived but is not read yet."""

REOPEN_S: Final = 1.0
"""So long after a line broke, or could not be had, the thread publishes before another one is tried."""

LINE_SILENT: Final = "the broker did not confirm (TimeoutError)"

_Running = Outcome["str | None"]
"""A publish that ends with None, or with why the broker does not have it."""

_Cause = tuple["str | None", "_Running | None"]
"""Why the broker does not have a callback, and the publish that may still bring it there."""

_Waiting = tuple[Envelope, "asyncio.Future[_Cause]"]


@dataclass(slots=True)
class _Flush:
    """A batch that is being published."""

    batch: list[_Waiting]
    timer: asyncio.TimerHandle
    on_line: bool = False
    left: _Running | None = None
    """If the broker was silent for so long that the callbacks went to the spool: what they may still wait for."""

    @property
    def envelopes(self) -> list[Envelope]:
        return [envelope for envelope, _ in self.batch]


class GroupCommit:
    """Stores callbacks for the running event loop; not for threads."""

    def __init__(
        self, handover: Handover, spoolers: int, open_line: Callable[[], RedisPipe | None] | None = None
    ) -> None:
        """``spoolers``: threads for what the broker does not take. ``open_line``: where there may be a line."""
        self._handover = handover
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._gathering = False
        self._flushing: _Flush | None = None
        self._publisher = ThreadPoolExecutor(1, "deedbox-commit")
        self._spoolers = ThreadPoolExecutor(spoolers, "deedbox-settle")
        self._open_line = open_line
        self._open_at = 0.0
        self._line: RedisPipe | None = None

    @property
    def has_line(self) -> bool:
        """Whether the next batch needs no thread."""
        return self._line is not None

    def close(self) -> None:
        """Let the threads end; ``store`` must not be called any more."""
        self._open_line = None
        self._drop_line()
        self._publisher.shutdown(wait=False)
        self._spoolers.shutdown(wait=False)

    async def store(self, envelope: Envelope) -> Stored:
        """Make a callback durable. Raises NotStored within 2 s."""
        flushing = self._flushing
        cause: str | None
        running: _Running | None
        if flushing is not None and flushing.left is not None:
            # A broker that is silent for them is silent for this one.
            cause, running = NO_ANSWER, None
        else:
            ended: asyncio.Future[_Cause] = self._loop.create_future()
            self._waiting.append((envelope, ended))
            if flushing is None and not self._gathering:
                self._gathering = True
                self._loop.call_soon(self._gather, 1, 0)
            cause, running = await ended
            if cause is None:
                return Stored(spooled=False)
        return await self._loop.run_in_executor(
            self._spoolers, self._handover.settle, envelope, cause, running
        )

    def _gather(self, turn: int, before: int) -> None:
        """Begin to publish once a turn of the loop has brought no more: what arrives together shares the publish."""
        count = len(self._waiting)
        if turn < TURNS_MAX and before < count < BATCH_MAX:
            self._loop.call_soon(self._gather, turn + 1, count)
            return
        self._gathering = False
        if self._waiting and self._flushing is None:
            self._begin()

    def _begin(self) -> None:
        """Begin to publish what waits."""
        line = self._line
        if line is not None and self._handover.broker_warning() is None:
            batch = self._take(LINE_BYTES)
        else:
            line, batch = None, self._take(BATCH_BYTES)
        flush = self._flushing = _Flush(batch, self._loop.call_later(HEDGE_S, self._leave))
        if line is None or _size(batch) > LINE_BYTES:
            self._publish(flush)
            return
        try:
            line.send(flush.envelopes)
            flush.on_line = True
        except Unavailable:
            self._drop_line()
            self._publish(flush)

    def _take(self, limit_bytes: int) -> list[_Waiting]:
        """Take what waits, up to the limit; one at least."""
        size, count = 0, 0
        for envelope, _ in self._waiting[:BATCH_MAX]:
            size += _bytes(envelope)
            if count and size > limit_bytes:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _publish(self, flush: _Flush) -> None:
        """Publish in the thread."""
        flush.on_line = False
        ended = self._publisher.submit(self._handover.publish_many, flush.envelopes)
        ended.add_done_callback(lambda ended: self._call(self._published, flush, ended))

    def _published(self, flush: _Flush, ended: _Running) -> None:
        error = ended.exception()
        if error is None and ended.result() is None:
            self._want_line()
        self._flushed(flush, None if error else ended.result(), error)

    def _leave(self) -> None:
        """Leave a silent broker behind: the publish continues, and a repeat from the spool is absorbed downstream."""
        flush = self._flushing
        if flush is None:
            return
        if flush.on_line:
            self._loop.call_later(REDIS_TIMEOUT_S - HEDGE_S, self._line_silent, flush)
        if not self._handover.has_spool:
            return  # there is nowhere else to go
        flush.left = Outcome()
        flush.left.set_running_or_notify_cancel()  # a caller that loses patience must not cancel it
        for _, ended in flush.batch:
            _tell(ended, (NO_ANSWER, flush.left))
        # What waits behind it is in no publish: whether this one succeeds says nothing about them.
        waiting, self._waiting = self._waiting, []
        for _, ended in waiting:
            _tell(ended, (NO_ANSWER, None))

    def _flushed(self, flush: _Flush, cause: str | None, error: BaseException | None = None) -> None:
        flush.timer.cancel()
        self._flushing = None
        if self._waiting and not self._gathering:
            self._gathering = True
            self._loop.call_soon(self._gather, 1, -1)
        if flush.left is not None and error is not None:
            flush.left.set_exception(error)
        elif flush.left is not None:
            flush.left.set_result(cause)
        for _, ended in flush.batch:
            if error is None:
                _tell(ended, (cause, None))
            elif not ended.done():
                ended.set_exception(error)

    def _want_line(self) -> None:
        """Open a line, in the thread, now that the broker is known to be well."""
        if self._open_line is None or self._line is not None or self._loop.time() < self._open_at:
            return
        self._open_at = self._loop.time() + REOPEN_S
        opening = self._publisher.submit(self._open_line)
        opening.add_done_callback(lambda opening: self._call(self._opened, opening))

    def _opened(self, opening: Outcome[RedisPipe | None]) -> None:
        if opening.exception() is not None:
            return
        line = opening.result()
        if line is None:
            self._open_line = None
        elif self._open_line is None:  # closed meanwhile
            line.close()
        else:
            self._line = line
            self._loop.add_reader(line.fileno, self._answered, line)

    def _answered(self, line: RedisPipe) -> None:
        """Read what Redis says on the line: an answer, or that it is gone."""
        flush = self._flushing if self._flushing is not None and self._flushing.on_line else None
        try:
            line.answer()
        except Unavailable as error:
            self._drop_line()
            if flush is not None and flush.left is not None:
                self._flushed(flush, str(error))
            elif flush is not None:
                # It may have arrived. The thread knows what errors mean, and tries once more.
                self._publish(flush)
            return
        if flush is None:  # an answer without a question: the next one would be taken for another's
            self._drop_line()
        else:
            self._flushed(flush, None)

    def _line_silent(self, flush: _Flush) -> None:
        if self._flushing is flush and flush.on_line:
            self._drop_line()
            self._flushed(flush, LINE_SILENT)

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        self._open_at = self._loop.time() + REOPEN_S
        if line is not None:
            self._loop.remove_reader(line.fileno)
            line.close()

    def _call(self, what: Callable[..., None], *arguments: Any) -> None:
        """Call something in the loop, unless that has ended: no caller waits there any more."""
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            return


def _bytes(envelope: Envelope) -> int:
    """Return what a callback takes on its way to the broker, at most."""
    return len(envelope.body) * 3 // 2 + OVERHEAD_BYTES


def _size(batch: list[_Waiting]) -> int:
    return sum(_bytes(envelope) for envelope, _ in batch)


def _tell(ended: asyncio.Future[_Cause], cause: _Cause) -> None:
    if not ended.done():  # left behind, or its sender hung up
        ended.set_result(cause)
