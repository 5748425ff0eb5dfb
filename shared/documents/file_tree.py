"""Documents as files below one directory of this host, or of a disk that several hosts mount."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.documents.place import OpenFile
from deedbox.shared.runtime.data_dir import flush_names

DRAFT_LIFE_S: Final = 3600.0
"""No writer takes this long (seconds): an older draft belongs to a killed one."""

_NO_FILE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR})


class FileTree:
    """A ``DocumentPlace``.

    A source is locked (flock): shared while something is stored for it, exclusively while a request is erased. The lock
    of a killed process is free at once. The locks are files beside the sources' folders.
    """

    locks = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_new(self, name: str, data: bytes) -> None:
        with _disk_errors():
            target = self._ready(name)
            if not target.exists():
                _publish(target, data, over=False)

    def replace(self, name: str, data: bytes) -> None:
        with _disk_errors():
            _publish(self._ready(name), data, over=True)

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> OpenFile:
        try:
            # A link could lead out of the store.
            return os.fdopen(os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except OSError as error:
            if error.errno in _NO_FILE:
                raise FileNotFoundError("this is no file of the store") from None
            raise _refused(error) from error

    def names(self, folder: str) -> list[str]:
        path = self._root / folder
        with _disk_errors():
            if path.is_symlink() or not path.is_dir():
                return []  # a link leads out of the store: not ours
            files = sorted(each for each in path.iterdir() if each.is_symlink() or not each.is_dir())
        return [f"{folder}/{each.name}" for each in files]

    def all_named(self, name: str) -> Iterator[str]:
        with _disk_errors():
            for path in self._root.glob(f"*/*/{name}"):
                yield path.relative_to(self._root).as_posix()

    def remove(self, folder: str) -> list[str]:
        removed = self.names(folder)
        with _disk_errors():
            for name in removed:
                (self._root / name).unlink(missing_ok=True)
            path = self._root / folder
            with contextlib.suppress(OSError):  # a folder in it is not ours, and stays
                path.rmdir()
            if path.parent.is_dir():
                flush_names(path.parent)
        return removed

    @contextlib.contextmanager
    def writing(self, source: str) -> Iterator[None]:
        with _disk_errors():
            # Made before the lock: an eraser that does not find it knows that no writer has looked yet.
            _make_private(self._root / source)
            lock = self._lock(source, fcntl.LOCK_SH)
        try:
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def erasing(self, source: str) -> Iterator[None]:
        with _disk_errors():
            lock = self._lock(source, fcntl.LOCK_EX) if (self._root / source).is_dir() else None
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def url(self, name: str) -> str:
        return (self._root / name).resolve().as_uri()

    def shown(self, name: str) -> str:
        return str(self._root.absolute() / name)

    def _lock(self, source: str, how: int) -> int:
        # A file that is open for writing, not the folder: on NFS only such a lock reaches other hosts.
        descriptor = os.open(self._root / f".{source}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _ready(self, name: str) -> Path:
        target = self._root / name
        _make_private(target.parent)
        _sweep_drafts(target.parent)
        return target


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> Unavailable:
    return Unavailable(f"the document store refused: {error.strerror or type(error).__name__}")


def _make_private(folder: Path) -> None:
    """Create a folder and its parents, each for its owner only, each name flushed to the disk."""
    if folder.is_dir():
        return
    _make_private(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster
        folder.mkdir(mode=0o700)
    flush_names(folder.parent)


def _sweep_drafts(folder: Path) -> None:
    """Remove what killed writers left behind: no reader ever looks at it, but it takes its space."""
    for draft in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > DRAFT_LIFE_S:
                draft.unlink()


def _publish(target: Path, data: bytes, *, over: bool) -> None:
    """Write beside the target, flush to the disk, then give it the name: it appears with the whole content only."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if over or not _linked(temporary, target):
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    flush_names(target.parent)


def _linked(temporary: Path, target: Path) -> bool:
    """Give the file its name, unless another writer was faster. Returns False where the disk knows no such call."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return True
    except OSError as error:
        if error.errno in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            return False
        raise
    return True
