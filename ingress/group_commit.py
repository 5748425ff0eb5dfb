"""Group commit: while one publish is under way, all callbacks that arrive wait for the next one and share it.

For the event loop of the ASGI worker. One thread publishes, so that the loop never waits for the broker; what the broker
does not take goes the way that threads have, through ``Handover``: breaker, spool, and the same answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future as Outcome
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ingress.handover import HEDGE_S, NO_ANSWER, Handover, Stored
from shared.core.envelope import Envelope

BATCH_MAX: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024

_Waiting = tuple[Envelope, "asyncio.Future[str | None]"]


class GroupCommit:
    """Stores callbacks for one event loop; not for threads. ``spoolers``: threads for what the broker does not take."""

    def __init__(self, handover: Handover, spoolers: int) -> None:
        self._handover = handover
        self._waiting: list[_Waiting] = []
        self._flushing: Outcome[str | None] | None = None
        self._publisher = ThreadPoolExecutor(1, "deedbox-commit")
        self._spoolers = ThreadPoolExecutor(spoolers, "deedbox-settle")

    def close(self) -> None:
        """Let the threads end; nobody may call ``store`` any more."""
        self._publisher.shutdown(wait=False)
        self._spoolers.shutdown(wait=False)

    async def store(self, envelope: Envelope) -> Stored:
        """Make a callback durable. Raises NotStored within 2 s."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str | None] = loop.create_future()
        self._waiting.append((envelope, ended))
        if self._flushing is None:
            self._flush(loop)
        flushing = self._flushing
        cause = await ended
        if cause is None:
            return Stored(spooled=False)
        return await loop.run_in_executor(self._spoolers, self._handover.settle, envelope, cause, flushing)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to publish what waits."""
        batch = self._take()
        flushing = self._publisher.submit(self._handover.publish_many, [envelope for envelope, _ in batch])
        self._flushing = flushing
        # One timer for the batch and for all who wait behind it: a broker that is silent now is silent for them too.
        timer = loop.call_later(HEDGE_S, self._leave, batch)
        flushing.add_done_callback(lambda _: _call(loop, self._flushed, loop, batch, flushing, timer))

    def _take(self) -> Sequence[_Waiting]:
        size, count = 0, 0
        for envelope, _ in self._waiting[:BATCH_MAX]:
            size += len(envelope.body)
            count += 1
            if size >= BATCH_BYTES:
                break
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _leave(self, batch: Sequence[_Waiting]) -> None:
        """Leave a silent broker behind: the publish goes on, and a repeat from the spool is absorbed downstream."""
        waiting, self._waiting = self._waiting, []
        for _, ended in (*batch, *waiting):
            if not ended.done():
                ended.set_result(NO_ANSWER)

    def _flushed(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting],
        flushing: Outcome[str | None],
        timer: asyncio.TimerHandle,
    ) -> None:
        timer.cancel()
        self._flushing = None
        if self._waiting:
            self._flush(loop)
        error = flushing.exception()
        for _, ended in batch:
            if ended.done():  # left behind, or its sender hung up
                continue
            if error is None:
                ended.set_result(flushing.result())
            else:
                ended.set_exception(error)


def _call(loop: asyncio.AbstractEventLoop, *what: object) -> None:
    """Call something in the loop, unless that has ended: nobody waits there any more."""
    try:
        loop.call_soon_threadsafe(*what)  # type: ignore[arg-type]
    except RuntimeError:
        return
