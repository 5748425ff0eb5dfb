"""The spool: where callbacks go, and are acknowledged from, while the broker does not take them.

One thread per process writes and fsyncs; requests wait for it. So all that wait share one fsync (a group
commit), and a disk that hangs costs a request its patience and not the process its threads.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from deedbox.ingress.spool import frames
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.segment import Segment
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.forks import call_in_children

SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""A drained segment is removed as a whole: small enough to give back space soon, large enough to be few."""

SEGMENT_AGE_S: Final = 30.0
"""So that other processes get at the callbacks of one whose own way to the broker stays closed."""

MEASURED_FOR_S: Final = 0.25
"""How long one look at the folder's size is good for; other processes of the host write meanwhile."""

ROOM_MIN_BYTES: Final = 1024
"""With less room than this the spool counts as full for readiness: most callbacks would not fit any more."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_log = logs.get("spool")


class NotSpooled(Unavailable):
    """The spool did not take a callback; ``reason`` says why."""

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(slots=True, eq=False)
class _Waiting:
    """A callback on its way to the disk."""

    received_at: float
    payload: bytes = field(repr=False)
    ended: threading.Event = field(default_factory=threading.Event)
    failure: NotSpooled | None = None


class Spool:
    """The spool of one process; safe for threads, opens nothing before the first append, survives a fork."""

    def __init__(
        self,
        folder: SpoolDir,
        max_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``max_bytes``: cap on everything that all processes of this host have spooled."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._monotonic = monotonic
        self._start_anew()
        call_in_children(self._forget)

    def _start_anew(self) -> None:
        self._arrived = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._writer: threading.Thread | None = None
        self._closing = False
        self._writing = threading.Lock()
        """Held by whoever uses the segment."""
        self._segment: Segment | None = None
        self._used_bytes = 0
        self._measured_at = float("-inf")

    def _forget(self) -> None:
        """Be a spool without a past, in a forked child: segment, writer and locks are the parent's."""
        if self._segment is not None:
            self._segment.forget()
        self._start_anew()

    def append(self, envelope: Envelope, patience_s: float) -> None:
        """Spool a callback; on return it is on the disk. Raises NotSpooled within ``patience_s`` seconds.

        After NotSpooled it may be on the disk all the same.
        """
        mine = _Waiting(envelope.received_at, envelope.pack())
        with self._arrived:
            self._waiting.append(mine)
            if self._writer is None or not self._writer.is_alive():
                self._closing = False
                self._writer = threading.Thread(target=self._write, name="deedbox-spool", daemon=True)
                self._writer.start()
            self._arrived.notify()
        if not mine.ended.wait(patience_s):
            with self._arrived, suppress(ValueError):
                self._waiting.remove(mine)
            raise NotSpooled(Refusal.SPOOL_UNWRITABLE, "the disk did not confirm in time")
        if mine.failure is not None:
            raise mine.failure

    def seal(self, older_than_s: float = 0.0) -> None:
        """Let go of the segment, if it is at least so old (seconds), so that it can be drained."""
        with self._writing:
            if self._segment and self._monotonic() - self._segment.opened_at >= older_than_s:
                self._let_go()

    def trouble(self) -> NotSpooled | None:
        """Return why the spool would not take a callback now, or None. Touches the disk."""
        try:
            self._folder.prepare()
            used = self._folder.total_bytes()
            probe = self._folder.path / f".probe.{os.getpid()}.{threading.get_ident()}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            return _translated(error)
        return _full() if used > self._max_bytes - ROOM_MIN_BYTES else None

    def close(self, patience_s: float = 1.0) -> None:
        """End the writer and let go of the segment; a later append starts again."""
        with self._arrived:
            self._closing = True
            writer = self._writer
            self._arrived.notify()
        if writer is not None:
            writer.join(patience_s)
        if self._writing.acquire(timeout=patience_s):
            try:
                self._let_go()
            finally:
                self._writing.release()

    def _write(self) -> None:
        """Run in the writer thread: commit whatever waits, all of it at once."""
        while True:
            with self._arrived:
                while not self._waiting and not self._closing:
                    self._arrived.wait()
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._writer = None
                    return
            try:
                with self._writing:
                    self._commit(batch)
            finally:
                for each in batch:
                    each.ended.set()

    def _commit(self, batch: list[_Waiting]) -> None:
        fitting: list[_Waiting] = []
        try:
            room = self._room_bytes()
            for each in batch:
                room -= frames.frame_bytes(each.payload)
                if room < 0:
                    each.failure = _full()
                else:
                    fitting.append(each)
            if fitting:
                self._append(fitting)
        except OSError as error:
            _log.error("spool.failed", cause=type(error).__name__, errno=error.errno)
            for each in fitting or batch:
                each.failure = _translated(error)
            self._let_go()
        except Exception as error:  # noqa: BLE001 - a bug must not end as an acknowledgement, nor end the writer
            _log.error(
                "spool.failed", exception=type(error).__name__, frames=logs.frames(error.__traceback__)
            )
            for each in batch:
                each.failure = NotSpooled(
                    Refusal.SPOOL_UNWRITABLE, "the spool failed; see the log of Deedbox"
                )

    def _append(self, fitting: list[_Waiting]) -> None:
        if self._segment is None:
            self._segment = Segment.create(self._folder, self._monotonic())
        before = self._segment.size_bytes
        self._segment.append([(each.received_at, each.payload) for each in fitting])
        self._used_bytes += self._segment.size_bytes - before
        if self._segment.size_bytes >= self._segment_bytes:
            self._let_go()

    def _room_bytes(self) -> int:
        now = self._monotonic()
        if now - self._measured_at >= MEASURED_FOR_S:
            self._used_bytes = self._folder.total_bytes()
            self._measured_at = now
        return self._max_bytes - self._used_bytes

    def _let_go(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            with suppress(OSError):
                segment.close()


def _full() -> NotSpooled:
    return NotSpooled(Refusal.SPOOL_FULL, "the spool is full (DEEDBOX_SPOOL_MAX_BYTES)")


def _translated(error: OSError) -> NotSpooled:
    if error.errno in _FULL:
        return NotSpooled(Refusal.SPOOL_FULL, "the disk of the spool is full")
    return NotSpooled(
        Refusal.SPOOL_UNWRITABLE, f"the spool cannot be written ({error.strerror or 'OSError'})"
    )
