"""A lock between the processes of a host: ``flock`` on a file or a folder. A killed process lets go by itself."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deedbox.shared.runtime.forks import call_in_children


class FileLock:
    """For one thread at a time. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        call_in_children(self._forget)

    @contextmanager
    def held(self, *, shared: bool = False) -> Iterator[None]:
        """Wait for the lock, and hold it in this block."""
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def take(self) -> bool:
        """Take the lock until ``drop``, if no other process has it. Returns whether this one has it now."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def drop(self) -> None:
        """Let go."""
        self._forget()

    def _forget(self) -> None:
        """Close the descriptor. In a forked child the lock stays with the parent, which has it open too."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
