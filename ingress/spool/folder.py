"""The spool's folder: its files, who may read them, and which database counts.

``<data_dir>/spool/`` (0700; each file 0600, and owned by the owner of the data directory, also when root makes it)
``<time>.sqlite3``            the callbacks; beside it SQLite keeps ``-wal`` and ``-shm``. The newest counts
``<time>.damaged``            SQLite could not read that database; what it can still read is yet to be copied
``<time>.kept``               that was done; a person may look at the database and remove both
``*.segment``                 callbacks of a version before 0.2.0, which this one cannot read: a start is refused
``reserve``                   room on the disk that giving space back may need
``host-id``                   names this folder in Redis; stable
``writer.lock``               shared by those that write; exclusive for what must meet no writer
``drainer.lock``, ``letters.lock``  the process that drains, and the one that makes dead letters

The folder itself is locked by the process that opens a database: of two that begin one at the same moment, each would
write to another file, and only the newest is drained.

A damaged database is not renamed: SQLite removes a ``-wal`` by name when its last connection closes, and that would be
the file of the next database (sqlite.org/howtocorrupt.html, section 2.4).
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime.data_dir import flush_names, make_private

RESERVE_BYTES: Final = 5 * 1024 * 1024
SHORT_BYTES: Final = 2 * 1024 * 1024 * 1024
DATABASE: Final = ".sqlite3"
DAMAGED: Final = ".damaged"
KEPT: Final = ".kept"
UNREADABLE: Final = ".segment"
_HOST_ID_BYTES: Final = 6
_DRAFT_LIFE_S: Final = 3600.0
_TRIAL_BYTES: Final = 256 * 1024


class SpoolDir:
    """Paths. Every method may raise OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._parent = data_dir
        self.path = data_dir / "spool"
        self.reserve = self.path / "reserve"
        self.writer_lock = self.path / "writer.lock"
        self.drainer_lock = self.path / "drainer.lock"
        self.letters_lock = self.path / "letters.lock"

    def prepare(self) -> None:
        """Create what is missing. On return the names are durable, whichever process created them."""
        missing = not self.path.is_dir()
        make_private(self._parent, self.path)
        if missing:
            self._own(self.path)
        for lock in (self.writer_lock, self.drainer_lock, self.letters_lock):
            self._create(lock)
        self._create(self.path / "host-id", secrets.token_hex(_HOST_ID_BYTES).encode() + b"\n")
        self._create(self.reserve)
        self.hold()
        for draft in self.path.glob(".*"):  # of a process that was killed while it created a file
            with suppress(FileNotFoundError):  # of a process that is creating it: it goes at any moment
                if time.time() - draft.stat().st_mtime > _DRAFT_LIFE_S:
                    draft.unlink()
        for folder in (self.path, self._parent, self._parent.absolute().parent):
            flush_names(folder)

    def demand_readable(self) -> None:
        """Check that no callbacks wait here in a form that this version cannot read. Raises SettingsError."""
        if self.path.is_dir() and any(self.path.glob(f"*{UNREADABLE}")):
            raise SettingsError(
                f"DEEDBOX_DATA_DIR: {self.path} has callbacks that a Deedbox before 0.2.0 acknowledged, which this version "
                f"cannot read; let that version drain them, then start this one (files *{UNREADABLE})."
            )

    def exists(self) -> bool:
        """Return whether anything was ever spooled here."""
        return self._database() is not None or bool(self.damaged())

    def host_id(self) -> str:
        """Return the name of this folder among all hosts."""
        return (self.path / "host-id").read_text("ascii").strip()

    def database(self) -> Path:
        """Return the database that counts, created (empty) if there is none. With the folder locked."""
        found = self._database()
        if found is None:
            self._create(self.path / f"{time.time_ns():020d}{DATABASE}")
            flush_names(self.path)
            found = self._database()
        if found is None:
            raise FileNotFoundError(f"{self.path} was changed by another process")
        return found

    def counts(self, database: Path) -> bool:
        """Return whether a database was neither removed nor found damaged."""
        return database.exists() and not _is_marked(database)

    def set_aside(self, database: Path) -> None:
        """Note durably that a database is damaged: from now on another one counts."""
        self._create(database.with_suffix(DAMAGED))
        flush_names(self.path)

    def damaged(self) -> list[Path]:
        """Return the damaged databases of which nothing was copied yet, oldest first."""
        if not self.path.is_dir():
            return []
        return sorted(path.with_suffix(DATABASE) for path in self.path.glob(f"*{DAMAGED}"))

    def keep(self, database: Path) -> None:
        """Note that everything readable was copied out of a damaged database."""
        database.with_suffix(DAMAGED).rename(database.with_suffix(KEPT))

    def hold(self, size_bytes: int = 0) -> None:
        """Have a reserve on the disk, of so many bytes where that is more than usual. Raises OSError if there is no room."""
        wanted = max(size_bytes, RESERVE_BYTES)
        if self.reserve.stat().st_size < wanted:
            _allocate(self.reserve, os.O_RDWR, wanted)

    def disk_is_short(self) -> bool:
        """Return whether other programs may soon miss the room that the spool does not use any more."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize < SHORT_BYTES

    def try_disk(self) -> None:
        """Take a little room and give it back. Raises OSError, which says why the disk has none."""
        trial = self.path / f".trial.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            _allocate(trial, os.O_RDWR | os.O_CREAT, _TRIAL_BYTES)
        finally:
            trial.unlink(missing_ok=True)

    def spend(self, down_to_bytes: int = 0) -> None:
        """Give the reserve, or what it has beyond so many bytes, to the disk. Only with the writer's lock."""
        if self.reserve.stat().st_size > down_to_bytes:
            os.truncate(self.reserve, down_to_bytes)

    def _database(self) -> Path | None:
        if not self.path.is_dir():
            return None
        found = sorted(path for path in self.path.glob(f"*{DATABASE}") if not _is_marked(path))
        return found[-1] if found else None

    def _create(self, path: Path, content: bytes = b"") -> None:
        """Create a file (0600) whole and durable, unless it is there.

        By a link: of two processes one wins, and none ever opens the other's database but by SQLite. Closing
        such a descriptor would drop the locks that SQLite has on the file.
        """
        if path.exists():
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
            self._own(draft)
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            os.close(descriptor)
            draft.unlink()

    def _own(self, path: Path) -> None:
        """Give what root made to the owner of the data directory, whose web processes use it."""
        if os.geteuid() == 0:
            owner = self._parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _allocate(path: Path, flags: int, size_bytes: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    finally:
        os.close(descriptor)


def _is_marked(database: Path) -> bool:
    return database.with_suffix(DAMAGED).exists() or database.with_suffix(KEPT).exists()
