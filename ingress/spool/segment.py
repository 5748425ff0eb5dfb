"""The segment that one process writes: created, appended to, fsynced, and let go for somebody to drain."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from deedbox.ingress.spool import frames
from deedbox.ingress.spool.folder import SEGMENT, SpoolDir, lock, sync, write_all

_TRIES: Final = 5


class Segment:
    """An open segment, locked by this process. Methods raise OSError; not safe for threads."""

    def __init__(self, descriptor: int, marker: bytes, path: Path, opened_at: float) -> None:
        self._descriptor = descriptor
        self._marker = marker
        self._path = path
        self.size_bytes = frames.HEAD_BYTES
        self.opened_at = opened_at
        """Monotonic seconds."""

    @classmethod
    def create(cls, folder: SpoolDir, now: float) -> Self:
        """Create a segment. On return its name and head are durable and it is locked."""
        folder.prepare()
        for attempt in range(_TRIES):
            name = folder.new_name()
            draft, path = folder.path / f".{name}{SEGMENT}", folder.path / f"{name}{SEGMENT}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            try:
                # Locked before it has its name: a drainer would take an unlocked segment for a dead process's.
                lock(descriptor)
                marker = secrets.token_bytes(frames.MARKER_BYTES)
                write_all(descriptor, frames.head(marker))
                os.fsync(descriptor)
                draft.rename(path)
                sync(folder.path)
            except OSError as error:
                os.close(descriptor)
                with suppress(OSError):
                    draft.unlink()
                # Somebody who tidies up met the draft between its creation and its lock.
                if isinstance(error, FileNotFoundError) and attempt < _TRIES - 1:
                    continue
                raise
            return cls(descriptor, marker, path, now)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def append(self, callbacks: Sequence[tuple[float, bytes]]) -> None:
        """Append frames of (received_at, payload). On return they are on the disk.

        After an OSError some of them may be; the segment must not be written again, only closed: what the
        kernel still holds of a failed write is anybody's guess, and a second fsync would say that all is well.
        """
        content = b"".join(frames.encode(self._marker, *callback) for callback in callbacks)
        write_all(self._descriptor, content)
        os.fdatasync(self._descriptor)
        self.size_bytes += len(content)

    @property
    def is_empty(self) -> bool:
        """Whether no frame was appended."""
        return self.size_bytes == frames.HEAD_BYTES

    def close(self) -> None:
        """Let go of the segment: from now on anybody may drain it. An empty one is removed."""
        if self.is_empty:
            with suppress(OSError):
                # What a failed append left behind was never acknowledged.
                self._path.unlink()
        os.close(self._descriptor)

    def forget(self) -> None:
        """Close the descriptor only: in a forked child, the file belongs to the parent."""
        os.close(self._descriptor)
