"""A segment that nobody writes any more, claimed by this process to be drained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deedbox.ingress.spool import frames
from deedbox.ingress.spool.folder import DONE, lock
from deedbox.ingress.spool.frames import Damage, Frame


class Leftover:
    """A claimed segment. The lock is held until ``release``; methods raise OSError."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._progress: int | None = None
        self.path = path
        self.size_bytes = os.fstat(descriptor).st_size
        marker = frames.marker_of(self._read)
        self._marker = marker or b""
        self.done = self._load_progress() if marker else 0
        """Offset before which everything was handed on."""

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Claim a segment; None if its writer or another drainer has it, or if it is gone."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            # Without a name: another drainer finished it between our look at the folder and our lock.
            if lock(descriptor) and os.fstat(descriptor).st_nlink > 0:
                return cls(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def items(self) -> Iterator[Frame | Damage]:
        """Yield what was not handed on yet, in the order in which it was spooled."""
        if self._marker:
            yield from frames.walk(self._read, self.done, self.size_bytes, self._marker)
        elif self.done < self.size_bytes:
            yield Damage(0, self.size_bytes)

    def bytes_of(self, damage: Damage) -> bytes:
        """Return the bytes of a damaged part."""
        return self._read(damage.start, damage.end - damage.start)

    def handed_on(self, done: int) -> None:
        """Remember, durably, that everything before the offset ``done`` is somewhere else now."""
        if self._marker:
            if self._progress is None:
                flags = os.O_WRONLY | os.O_CREAT
                self._progress = os.open(self.path.with_suffix(DONE), flags, 0o600)
            os.pwrite(self._progress, frames.encode_progress(self._marker, done), 0)
            os.fdatasync(self._progress)
        self.done = done

    def remove(self) -> None:
        """Remove the segment, all of which was handed on."""
        # In this order: a segment without its progress is drained again, which is harmless.
        self.path.with_suffix(DONE).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let go of it."""
        if self._progress is not None:
            os.close(self._progress)
        os.close(self._descriptor)

    def _load_progress(self) -> int:
        record = b""
        with suppress(FileNotFoundError):
            record = self.path.with_suffix(DONE).read_bytes()
        return min(frames.decode_progress(self._marker, record), self.size_bytes)

    def _read(self, offset: int, count: int) -> bytes:
        found = os.pread(self._descriptor, count, offset)
        while len(found) < count and (
            more := os.pread(self._descriptor, count - len(found), offset + len(found))
        ):
            found += more
        return found


@dataclass(frozen=True, slots=True)
class Rest:
    """What a segment still holds."""

    bytes: int = 0
    frames: int = 0
    oldest_received_at: float | None = None
    """Unix seconds; None: no frames."""


def look(path: Path) -> Rest:
    """Look at a segment without claiming it. Raises OSError."""
    with path.open("rb", buffering=0) as file:

        def read(offset: int, count: int) -> bytes:
            return os.pread(file.fileno(), count, offset)

        marker = frames.marker_of(read)
        if marker is None:
            return Rest()
        record = b""
        with suppress(FileNotFoundError):
            record = path.with_suffix(DONE).read_bytes()
        done = frames.decode_progress(marker, record)
        size = os.fstat(file.fileno()).st_size
        count, oldest = frames.count(read, done, size, marker)
        return Rest(max(0, size - done), count, oldest)
