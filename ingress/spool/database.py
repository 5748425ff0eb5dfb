"""The spool's database: one SQLite file that all processes of a host share.

**Durable.** ``journal_mode=WAL`` with ``synchronous=FULL``: a commit appends its pages to the ``-wal`` file and returns
after an fsync of it (sqlite.org/pragma.html#pragma_synchronous). strace shows one ``fdatasync`` for each commit, and one
of the folder when the file is new. Frames have checksums: nothing is read of a tail that a power cut damaged, and nothing
in it was acknowledged.

**Giving space back needs no space.** A deletion first makes the ``-wal`` file longer. So the ``-wal`` is kept short, and a
reserve on the disk has the most that it can need. Nothing is taken without that reserve, and ``give_back`` spends it. Free
pages are cut off the file when the spool is empty. On a disk that is short of room, this happens during the deletions.

**Forks.** SQLite's locks belong to a process: connections are closed before a fork, and opened again on both sides.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deedbox.ingress.spool.folder import RESERVE_BYTES, SpoolDir
from deedbox.ingress.spool.locks import FileLock
from deedbox.shared.runtime import logs

BUSY_S: Final = 1.0
"""How long a commit waits for another process's commit."""

WAL_PAGES: Final = 512
WAL_BYTES: Final = WAL_PAGES * 4096
"""Checkpointed from here on: what is in the ``-wal`` file alone must fit into the reserve once more."""

SLACK_BYTES: Final = 1024 * 1024
"""Room for the deletions between two checkpoints, and for SQLite's ``-shm``."""

FREE_PAGES: Final = 1024
"""Cut off the file from here on where the disk is short of room, else when the spool is empty: that writes as much."""

STEP_PAGES: Final = 64
"""So many at a time on a disk that is full: pages from the end are written once more, further ahead."""

FORK_PATIENCE_S: Final = 5.0

SETTINGS: Final = (
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=FAST",  # a build may overwrite what is deleted; that would need as much room again
    "PRAGMA journal_mode=WAL",
    f"PRAGMA wal_autocheckpoint={WAL_PAGES}",
    f"PRAGMA journal_size_limit={WAL_BYTES}",
)

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS callbacks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a drain deletes by it what it has published
    received_at REAL NOT NULL,             -- unix seconds
    checksum INTEGER NOT NULL,             -- SQLite has none of its own outside the -wal file
    entry BLOB NOT NULL                    -- Envelope.pack
);
CREATE INDEX IF NOT EXISTS callbacks_received_at ON callbacks (received_at);
CREATE TABLE IF NOT EXISTS aside (         -- callbacks that cannot be published
    id INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    letter INTEGER NOT NULL DEFAULT 0      -- 1: Redis has it as a dead letter, the bytes stay here
);
CREATE TABLE IF NOT EXISTS copied (        -- out of a damaged database: all ids up to this one
    database TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    found INTEGER NOT NULL,
    lost INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS totals (callbacks INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON callbacks BEGIN
    UPDATE totals SET callbacks = callbacks + 1, bytes = bytes + length(NEW.entry);
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON callbacks BEGIN
    UPDATE totals SET callbacks = callbacks - 1, bytes = bytes - length(OLD.entry);
END;
INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
"""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNREADABLE: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
"""One page that the disk does not give would hold back every callback behind it."""

_log = logs.get("spool")


class DiskFull(OSError):
    """SQLite found no room on the disk."""


class Damaged(OSError):
    """SQLite cannot read the database. It is set aside, and the next use begins a new one."""


class Database:
    """A component's connection to the spool; safe for threads, opened when it is first used. Methods raise OSError."""

    def __init__(self, folder: SpoolDir) -> None:
        self.folder = folder
        self._writers = FileLock(folder.writer_lock)
        self._openers = FileLock(folder.path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._path: Path | None = None
        self._usable = True
        _opened.add(self)

    @property
    def path(self) -> Path | None:
        """Which database the last use was of."""
        return self._path

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read. Only where ``folder.exists()``."""
        with self._lock, self._translated():
            yield self._current()

    @contextmanager
    def writing(self, adds_bytes: int = 0, *, alone: bool = False) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction. On return it is on the disk; after an OSError nothing of it is.

        ``adds_bytes``: with it, folder and reserve are put in place first. ``alone``: the caller has the writer's lock.
        """
        with self._lock:
            if adds_bytes and (self._connection is None or not self.folder.writer_lock.exists()):
                self.folder.prepare()
            with nullcontext() if alone else self._writers.held(shared=True), self._translated():
                connection = self._current()
                if adds_bytes:
                    if self._wal_bytes() > 2 * WAL_BYTES:
                        # The last checkpoint failed, of which a commit says nothing: perhaps the file may not grow.
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    self.folder.hold(self._wal_bytes() + 2 * adds_bytes + SLACK_BYTES)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise

    def open(self) -> None:
        """Open it now; with the reserve, if need be: SQLite needs a little room for that."""
        with self._lock:
            self._insist(self._open)

    def give_back(self, remove: Callable[[sqlite3.Connection], object]) -> None:
        """Run a transaction that removes something, and give the room to the disk; with the reserve, if need be."""
        with self._lock:  # a fork waits for it: no child must inherit the writer's lock
            emptied = self._insist(lambda *, alone=False: self._remove(remove, alone=alone))
            if emptied and self.folder.reserve.stat().st_size > RESERVE_BYTES:
                with self._writers.held():
                    self.folder.spend(RESERVE_BYTES)

    def wait_for_writers(self) -> None:
        """Return once every commit has ended that began before a database was set aside."""
        with self._lock, self._writers.held():
            return

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()

    def _insist(self, work: Callable[..., bool]) -> bool:
        try:
            return work()
        except Damaged:
            raise
        except OSError:
            self.close()
            with self._writers.held():  # a writer would put the reserve back in place meanwhile
                self.folder.spend()
                done = work(alone=True)
                with suppress(OSError):
                    self.folder.hold()
            return done

    def _open(self, *, alone: bool = False) -> bool:
        with self.reading():
            return alone

    def _remove(self, remove: Callable[[sqlite3.Connection], object], *, alone: bool = False) -> bool:
        """Remove, and shorten the file. Returns whether the spool is empty."""
        with self.writing(alone=alone) as connection:
            remove(connection)
        with self.reading() as connection:
            emptied = bool(connection.execute("SELECT callbacks = 0 FROM totals").fetchone()[0])
            if emptied or alone or (_free_pages(connection) >= FREE_PAGES and self.folder.disk_is_short()):
                _shorten(connection, STEP_PAGES if alone else FREE_PAGES)
                connection.execute(
                    f"PRAGMA wal_checkpoint({'TRUNCATE' if emptied else 'PASSIVE'})"
                ).fetchall()
        return emptied

    def _current(self) -> sqlite3.Connection:
        if not self._usable:
            raise OSError(errno.EAGAIN, "this process was forked while the disk did not answer; restart it")
        if self._connection is None or self._path is None or not self.folder.counts(self._path):
            self.close()
            with self._openers.held():
                self._path = self.folder.database()
                self._connection = _connect(self._path)
        return self._connection

    def _wal_bytes(self) -> int:
        try:
            return Path(f"{self._path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's errors into OSError, and set a damaged database aside."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
            self.close()
            if (code & 0xFF in _DAMAGE or code in _UNREADABLE) and self._path is not None:
                self.folder.set_aside(self._path)
                _log.error("spool.damaged", database=str(self._path), cause=str(error))
                raise Damaged(errno.EIO, f"{self._path} is damaged and was set aside") from None
            if code & 0xFF == sqlite3.SQLITE_FULL:
                raise DiskFull(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise OSError(errno.EIO, f"SQLite says: {error}") from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        _address(path), timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True
    )
    try:
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            connection.execute(
                "PRAGMA auto_vacuum=INCREMENTAL"
            )  # it writes: not to a database that may be full
        for setting in SETTINGS:
            connection.execute(setting).fetchall()
        if connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'removed'").fetchone() == (0,):
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _shorten(connection: sqlite3.Connection, step: int) -> None:
    """Cut all free pages off the file."""
    before = float("inf")
    while 0 < (free := _free_pages(connection)) < before:
        before = free
        # By a script: SQLite frees a page per step, and sqlite3 makes one step of a statement without rows.
        connection.executescript(f"PRAGMA incremental_vacuum({step})")


def open_damaged(path: Path) -> closing[sqlite3.Connection]:
    """Open a database that was set aside, for what can be read of it. Raises sqlite3.Error, sooner or later."""
    return closing(sqlite3.connect(_address(path), timeout=BUSY_S, uri=True))


def _address(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=rw"


_opened: weakref.WeakSet[Database] = weakref.WeakSet()


class _AtFork(threading.local):
    """What the thread that forks has locked."""

    def __init__(self) -> None:
        self.locked: list[Database] = []


_at_fork = _AtFork()


def _before_fork() -> None:
    for each in list(_opened):
        if each._lock.acquire(timeout=FORK_PATIENCE_S):  # noqa: SLF001 - of this module
            each.close()
            _at_fork.locked.append(each)


def _after_in_parent() -> None:
    while _at_fork.locked:
        _at_fork.locked.pop()._lock.release()  # noqa: SLF001


def _after_in_child() -> None:
    for each in list(_opened):
        # One that could not be closed holds locks in SQLite's memory that this process does not have.
        each._usable = each in _at_fork.locked  # noqa: SLF001
        each._lock = threading.RLock()  # noqa: SLF001
    _at_fork.locked.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
