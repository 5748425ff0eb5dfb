"""A lock between the processes of a host: ``flock`` on a file or a folder. A killed process lets go by itself."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deedbox.shared.runtime.forks import call_in_children

PATIENCE_S: Final = 1.0
"""Holders work for milliseconds, unless one was stopped in the middle, or its disk hangs: then the others do not."""

_STEP_S: Final = 0.005


class FileLock:
    """For one thread at a time. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        call_in_children(self._forget)

    @contextmanager
    def held(self, *, shared: bool = False) -> Iterator[None]:
        """Wait for the lock, at most for ``PATIENCE_S``, and hold it in this block."""
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            _lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
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


def _lock(descriptor: int, how: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, "another process of this host locks it") from None
            time.sleep(_STEP_S)
        else:
            return
