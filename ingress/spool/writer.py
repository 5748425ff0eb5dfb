"""The spool: where callbacks go, and are acknowledged from, while the broker does not take them.

One thread per process writes; requests wait for it. So all that wait share one commit and its fsync, and a disk
that hangs costs a request its patience and not the process its threads.
"""

from __future__ import annotations

import errno
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Final

from deedbox.ingress.spool.database import Damaged, Database
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.runtime import logs
from deedbox.shared.runtime.forks import call_in_children

COMMIT_BYTES: Final = 1024 * 1024
"""So much goes into one commit, or one callback that is larger."""

ROW_BYTES: Final = 64
"""What a row takes beside its entry, about."""

TRIAL_BYTES: Final = 4096
TRIAL_PATIENCE_S: Final = 1.0

FULL_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Row = tuple[float, int, bytes]
"""received_at, checksum, entry"""

_USED: Final = (
    "SELECT (page_count - freelist_count - 9) * page_size FROM pragma_page_count, pragma_freelist_count, "
    "pragma_page_size"  # 9: those of an empty spool
)

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
    entry: bytes = field(repr=False)
    trial: bool = False
    """Written, and not kept: it shows whether a callback of its size would be."""
    ended: threading.Event = field(default_factory=threading.Event)
    failure: NotSpooled | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.entry) + ROW_BYTES


class Spool:
    """The spool of one process; safe for threads, opens nothing before the first append, survives a fork."""

    def __init__(self, folder: SpoolDir, max_bytes: int) -> None:
        """``max_bytes``: cap on everything that all processes of this host have spooled."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._database = Database(folder)
        self._trial_bytes = TRIAL_BYTES
        self._start_anew()
        call_in_children(self._start_anew)

    def _start_anew(self) -> None:
        """Begin, here and in a forked child: its writer and what waits are the parent's."""
        self._arrived = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._writer: threading.Thread | None = None
        self._closing = False

    def append(self, envelope: Envelope, patience_s: float) -> None:
        """Spool a callback; on return it is on the disk. Raises NotSpooled within ``patience_s`` seconds.

        After NotSpooled it is not in the spool; only if the disk did not confirm in time, it may be: then it is
        published, and the sender's repeat is a duplicate.
        """
        mine = _Waiting(envelope.received_at, envelope.pack())
        try:
            self._write_with(mine, patience_s)
        except NotSpooled:
            self._trial_bytes = max(TRIAL_BYTES, len(mine.entry))
            raise
        self._trial_bytes = TRIAL_BYTES

    def trouble(self) -> NotSpooled | None:
        """Return why the spool would not take a callback now, or None: it writes one, without keeping it.

        As large as the last one that was refused: what is said here holds for the callbacks that come.
        """
        try:
            self._write_with(_Waiting(0.0, bytes(self._trial_bytes), trial=True), TRIAL_PATIENCE_S)
        except NotSpooled as error:
            return error
        self._trial_bytes = TRIAL_BYTES
        return None

    def close(self, patience_s: float = 1.0) -> None:
        """End the writer; a later append starts again."""
        with self._arrived:
            self._closing = True
            writer = self._writer
            self._arrived.notify()
        if writer is not None:
            writer.join(patience_s)
        if writer is None or not writer.is_alive():
            self._database.close()

    def _write_with(self, mine: _Waiting, patience_s: float) -> None:
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

    def _write(self) -> None:
        """Run in the writer thread: commit whatever waits, all of it at once."""
        while True:
            with self._arrived:
                while not self._waiting and not self._closing:
                    self._arrived.wait()
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    self._writer = None
                    return
            for batch in _batches(waiting):
                try:
                    self._commit(batch)
                finally:
                    for each in batch:
                        each.ended.set()

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            try:
                self._append(batch)
            except Damaged:
                self._append(batch)  # to the next database
        except OSError as error:
            _log.error("spool.failed", cause=error.strerror or type(error).__name__, errno=error.errno,
                       folder=str(self._folder.path))  # fmt: skip
            failure = self._translated(error)
            for each in batch:
                each.failure = NotSpooled(failure.reason, str(failure))
        except Exception as error:  # noqa: BLE001 - a bug must not end as an acknowledgement, nor end the writer
            _log.error(
                "spool.failed", exception=type(error).__name__, frames=logs.frames(error.__traceback__)
            )
            for each in batch:
                each.failure = NotSpooled(
                    Refusal.SPOOL_UNWRITABLE, "the spool failed; see the log of Deedbox"
                )

    def _append(self, batch: Sequence[_Waiting]) -> None:
        with self._database.writing(adds_bytes=sum(each.size_bytes for each in batch)) as connection:
            room = self._max_bytes - connection.execute(_USED).fetchone()[0]
            rows: list[Row] = []
            for each in batch:
                each.failure = None
                if each.size_bytes > room:
                    each.failure = NotSpooled(
                        Refusal.SPOOL_FULL, "the spool is full (DEEDBOX_SPOOL_MAX_BYTES)"
                    )
                    continue
                room -= each.size_bytes
                rows.append((each.received_at, checksum(each.received_at, each.entry), each.entry))
            insert(connection, rows)
            if batch[0].trial and rows:
                connection.execute("DELETE FROM callbacks WHERE id = last_insert_rowid()")

    def _translated(self, error: OSError) -> NotSpooled:
        if error.errno in FULL_ERRORS or self._is_full():
            text = f"the disk of the spool is full: make room on the disk of {self._folder.path.absolute()}"
            return NotSpooled(Refusal.SPOOL_FULL, text)
        return NotSpooled(
            Refusal.SPOOL_UNWRITABLE,
            f"the spool in {self._folder.path.absolute()} cannot be written ({error.strerror or 'OSError'})",
        )

    def _is_full(self) -> bool:
        """Ask the disk itself: SQLite does not say whether an I/O error was one of a quota."""
        try:
            self._folder.try_disk()
        except OSError as error:
            return error.errno in FULL_ERRORS
        return False


def insert(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert in one statement: sqlite3 lets go of the interpreter at each, and gets it back late under load."""
    if rows:
        places = ", ".join(["(?, ?, ?)"] * len(rows))
        values = [value for row in rows for value in row]
        into = "INSERT INTO callbacks (received_at, checksum, entry) VALUES "
        connection.execute(into + places, values)


def checksum(received_at: float, entry: bytes) -> int:
    """Return what shows that a row is as it was written."""
    return zlib.crc32(entry, zlib.crc32(repr(received_at).encode()))


def _batches(waiting: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """Yield what is committed together; a trial is alone, so that it is no callback's trouble."""
    batch: list[_Waiting] = []
    size = 0
    for each in waiting:
        if batch and (each.trial or batch[0].trial or size + each.size_bytes > COMMIT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.size_bytes
    if batch:
        yield batch
