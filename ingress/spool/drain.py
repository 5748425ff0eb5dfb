"""Drains the spool back into the broker, oldest first.

A batch is published, then deleted, then the next: a crash in between repeats it, and repeats are absorbed downstream.
Where the disk does not take the deletion, the drain remembers it, goes on, and tries it again; so long no other
process drains. A callback that cannot be published is set aside, so that it never stops the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Final, Protocol

from deedbox.ingress.spool.damage import copy_readable
from deedbox.ingress.spool.database import Database
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.locks import FileLock
from deedbox.ingress.spool.writer import checksum
from deedbox.shared.broker.errors import RefusedForCause
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable, Undecodable
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.runtime import logs

BATCH: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
"""One batch must fit into the broker's second; a larger callback is a separate batch."""

STRIKES: Final = 3
"""So often a callback may fail where another one passes, until it is taken for the cause."""

_BEHIND: Final = (
    "SELECT id, received_at, checksum, entry FROM callbacks WHERE id > ? AND id NOT IN (SELECT id FROM aside) "
    "ORDER BY id"
)

_log = logs.get("spool")


class Sink(Protocol):
    """What draining needs of a publisher."""

    def publish(self, envelope: Envelope) -> None:
        """Return once the broker has the envelope. Raises Unavailable or RefusedForCause."""

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        """Return once the broker has all of them. Raises Unavailable; some may have arrived."""


@dataclass(slots=True)
class SpoolDrained:
    """What one drain did."""

    published: int = 0
    set_aside: int = 0
    trouble: str | None = None
    """What the broker said when it did not take callbacks any more. None: done, or out of time."""
    unreadable: str | None = None
    """What the disk said where it could not be read or written."""
    busy: bool = False
    """Another process drains."""


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A callback that can be published."""

    id: int
    envelope: Envelope


@dataclass(slots=True)
class _Progress:
    """What is done and not yet on the disk."""

    database: Path | None = None
    upto: int = 0
    """Every callback up to this id was published, or is in ``aside``."""
    aside: dict[int, tuple[DeathReason, str]] = field(default_factory=dict)

    @property
    def is_pending(self) -> bool:
        return bool(self.upto or self.aside)


class _Stuck(Exception):
    """The next callback could not be published, and the one behind it neither."""


class Drainer:
    """Drains a host's spool; of several, one at a time does. One drainer is for one thread."""

    def __init__(
        self,
        folder: SpoolDir,
        sink: Sink,
        monotonic: Callable[[], float] = time.monotonic,
        batch: int = BATCH,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """``paused``: asked before each batch; as long as it says so, nothing is published."""
        self._paused = paused
        self._folder = folder
        self._database = Database(folder)
        self._mine = FileLock(folder.drainer_lock)
        self._sink = sink
        self._monotonic = monotonic
        self._batch = batch
        self._progress = _Progress()
        self._strikes: Counter[int] = Counter()

    def drain(self, until: float = float("inf"), *, probe: bool = False) -> SpoolDrained:
        """Drain until the spool is empty, the broker fails, or ``until``, unless another process drains.

        ``until``: monotonic seconds. ``probe``: begin with one callback, because the broker may still be down.
        Never raises for a broken broker or disk; the outcome says it.
        """
        found = SpoolDrained()
        try:
            if not self._folder.exists():
                return found
            if not self._folder.drainer_lock.exists():
                self._folder.prepare()  # a database that was moved here, or came from a backup, is alone
            found.busy = not self._mine.take()
            if not found.busy:
                self._database.open()
                self._copy(found, until)
                self._drain(found, until, probe=probe)
        except _Stuck as error:
            found.trouble = str(error)
        except OSError as error:
            found.unreadable = error.strerror or type(error).__name__
        finally:
            if not self._progress.is_pending:
                self._mine.drop()
        return found

    def close(self) -> None:
        """Let go of the spool; a later drain starts again."""
        self._database.close()
        self._mine.drop()

    def _copy(self, found: SpoolDrained, until: float) -> None:
        """Copy what is readable of damaged databases; where there is no room for it, draining makes it."""
        try:
            copy_readable(self._database, lambda: self._monotonic() >= until)
        except OSError as error:
            found.unreadable = error.strerror or type(error).__name__

    def _drain(self, found: SpoolDrained, until: float, *, probe: bool) -> None:
        self._flush(found)
        limit = 1 if probe else self._batch
        while self._monotonic() < until and not self._paused():
            batch, last = self._read(limit)
            if not last:
                return
            try:
                self._publish(batch, found)
                self._progress.upto = last
            finally:
                self._flush(found)
            limit = self._batch

    def _read(self, limit: int) -> tuple[list[_Spooled], int]:
        """Return the next callbacks and the last id that was looked at; 0 if there are no more."""
        batch: list[_Spooled] = []
        size = last = 0
        with self._database.reading() as connection:
            if self._progress.database != self._database.path:
                self._progress = _Progress(self._database.path)
            rows = connection.execute(_BEHIND, (self._progress.upto,))
            for number, received_at, check, entry in rows:
                if last and (len(batch) >= limit or size + len(entry) > BATCH_BYTES):
                    break
                last, size = number, size + len(entry)
                try:
                    batch.append(_Spooled(number, _decoded(received_at, check, entry)))
                except Undecodable as error:
                    self._progress.aside[number] = (DeathReason.UNDECODABLE, str(error))
                except ValueError as error:
                    self._progress.aside[number] = (DeathReason.SPOOL_DAMAGED, str(error))
            rows.close()
        return batch, last

    def _publish(self, batch: list[_Spooled], found: SpoolDrained) -> None:
        """Publish a batch; if it fails, one by one. Raises _Stuck."""
        try:
            if batch:
                self._sink.publish_many([each.envelope for each in batch])
        except Unavailable:
            for each in batch:
                self._alone(each, found)
                self._progress.upto = each.id
        else:
            found.published += len(batch)

    def _alone(self, mine: _Spooled, found: SpoolDrained) -> None:
        """Publish one callback, or set it aside if it is the trouble. Raises _Stuck if that cannot be told."""
        while True:
            try:
                self._sink.publish(mine.envelope)
            except RefusedForCause as error:
                detail = str(error)
            except Unavailable as error:
                if self._strikes[mine.id] < STRIKES:
                    if not self._takes_another(mine):
                        raise _Stuck(str(error)) from None
                    self._strikes[mine.id] += 1
                    continue
                detail = f"{error}, and took others in between"
            else:
                found.published += 1
                return
            self._progress.aside[mine.id] = (DeathReason.BROKER_REFUSED, detail)
            return

    def _takes_another(self, mine: _Spooled) -> bool:
        """Try the next callback, and the newest: if the broker takes one, it is not the trouble."""
        with self._database.reading() as connection:
            rows = [
                connection.execute(f"{_BEHIND} {end} LIMIT 1", (mine.id,)).fetchone() for end in ("", "DESC")
            ]
        for row in filter(None, rows):
            with suppress(Unavailable, Undecodable, ValueError):
                self._sink.publish(_decoded(*row[1:]))
                return True
        return False

    def _flush(self, found: SpoolDrained) -> None:
        """Delete what was published and note what was set aside; what the disk does not take stays to be done."""
        progress = self._progress
        if not progress.is_pending:
            return
        try:
            self._database.give_back(lambda connection: _forget(connection, progress))
        except OSError as error:
            found.unreadable = error.strerror or type(error).__name__
            _log.error("spool.not_given_back", cause=found.unreadable, folder=str(self._folder.path))
            return
        for number, (reason, _) in progress.aside.items():
            found.set_aside += 1
            _log.error("spool.set_aside", reason=str(reason), id=number)
        self._progress = _Progress(self._database.path)


def _decoded(received_at: float, check: int, entry: bytes) -> Envelope:
    """Return the callback. Raises Undecodable, ValueError for a row that is not as it was written."""
    if check != checksum(received_at, entry):
        raise ValueError("the callback is not as it was written to the disk")
    return Envelope.unpack(entry)


def _forget(connection: Connection, progress: _Progress) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO aside (id, reason, detail) VALUES (?, ?, ?)",
        [(number, str(reason), detail) for number, (reason, detail) in progress.aside.items()],
    )
    connection.execute(
        "DELETE FROM callbacks WHERE id <= ? AND id NOT IN (SELECT id FROM aside)", (progress.upto,)
    )
