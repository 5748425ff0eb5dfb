"""The spool's folder: who may write which file, and what the whole host has spooled.

``<data_dir>/spool/`` (0700)
``host-id``                   names this folder in Redis; stable
``<time>-<host>-<pid>-<random>.segment``  frames; its writer holds a lock on it for as long as it lives
``<same>.done``               how far a segment has been drained
``.<same>.segment``           a segment that is being made; holds nothing that was acknowledged
``quarantine/``               what could not be handed on, one file each
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from deedbox.shared.runtime.data_dir import make_private

SEGMENT: Final = ".segment"
DONE: Final = ".done"
_HOST_ID_BYTES: Final = 6
_DRAFT_LIFE_S: Final = 3600.0


class SpoolDir:
    """Paths and sizes. Every method may raise OSError; the callers translate it."""

    def __init__(self, data_dir: Path) -> None:
        self._parent = data_dir
        self.path = data_dir / "spool"
        self.quarantine = self.path / "quarantine"

    def prepare(self) -> None:
        """Create the folder where it is missing, so that it is still there after a power cut."""
        if not self.quarantine.is_dir():
            make_private(self._parent, self.path, self.quarantine)
            for folder in (self.path, self._parent, self._parent.absolute().parent):
                sync(folder)

    def exists(self) -> bool:
        """Tell whether anything was ever spooled here."""
        return self.path.is_dir()

    def host_id(self) -> str:
        """Return the name of this folder among all hosts, made up at the first call."""
        place = self.path / "host-id"
        with suppress(FileNotFoundError):
            return place.read_text("ascii").strip()
        draft = place.with_name(f".host-id.{os.getpid()}.{secrets.token_hex(4)}")
        write(draft, secrets.token_hex(_HOST_ID_BYTES).encode() + b"\n")
        # A link, not a rename: of two processes that start together, both must end up with the same id.
        with suppress(FileExistsError):
            os.link(draft, place)
        draft.unlink()
        sync(self.path)
        return place.read_text("ascii").strip()

    def new_name(self) -> str:
        """Return the name of a new segment: they sort by time, and no two processes choose the same."""
        return f"{time.time_ns() // 1_000_000:015d}-{self.host_id()}-{os.getpid()}-{secrets.token_hex(3)}"

    def segments(self) -> list[Path]:
        """Return all segments, oldest first."""
        names = (entry.name for entry in _entries(self.path))
        return [
            self.path / name for name in sorted(names) if name.endswith(SEGMENT) and not name.startswith(".")
        ]

    def total_bytes(self) -> int:
        """Return the size of everything in the folder, quarantine included: the cap protects the disk."""
        return sum(_sizes(self.path)) + sum(_sizes(self.quarantine))

    def tidy(self) -> None:
        """Remove what a killed process left behind and nobody needs: drafts, and progress without its segment."""
        for entry in (*_entries(self.path), *_entries(self.quarantine)):
            path = Path(entry.path)
            if entry.name.endswith(DONE) and not path.with_suffix(SEGMENT).exists():
                path.unlink(missing_ok=True)
            elif entry.name.startswith(".") and entry.name.endswith(SEGMENT):
                _remove_unlocked(path)
            elif entry.name.startswith(".") and time.time() - entry.stat().st_mtime > _DRAFT_LIFE_S:
                path.unlink(missing_ok=True)

    def keep(self, name: str, content: bytes) -> Path:
        """Put something into quarantine; on return it is on the disk. The same name replaces the file."""
        place = self.quarantine / name
        draft = place.with_name(f".{name}.{os.getpid()}")
        write(draft, content)
        draft.replace(place)
        sync(self.quarantine)
        return place


def lock(descriptor: int) -> bool:
    """Try to become the only user of a file until it is closed; a killed process lets go by itself."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, content: bytes) -> None:
    """Write a new file (0600) and make its content durable."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything; ``os.write`` may write less, on a disk that fills up for one."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _remove_unlocked(path: Path) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            if lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        yield from found


def _sizes(folder: Path) -> Iterator[int]:
    for entry in _entries(folder):
        with suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False):
                yield entry.stat(follow_symlinks=False).st_size
