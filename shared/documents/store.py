"""The document store: a file tree in which a reader never sees half a file.

``{root}/{source}/{signature_request_id}/{sha256}.pdf`` (or ``.zip``) with a ``{sha256}.json`` beside it.
Content-addressed, so that storing the same bytes twice is one file: repeats after a crash change nothing. Beside the
sources' folders lie a mark, which tells one store from another, and a lock for each source.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.identity import is_file_safe

DRAFT_LIFE_S: Final = 3600.0
"""No writer takes this long (seconds): an older draft belongs to a killed one."""

DocumentType = Literal["pdf", "zip"]

_MARK: Final = ".deedbox-store"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Altered(DeedboxError):
    """A stored file is not what was stored: somebody changed it, or the disk did."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One version of a request's final document."""

    sha256: str
    size: int
    """Bytes."""
    url: str


class Unwanted(DeedboxError):
    """The request was erased while its document was on the way; nothing was stored."""


class DocumentStore:
    """Stores documents below one directory.

    A source is locked (flock): shared while something is stored for it, exclusively while a request is erased. A writer
    looks under its lock whether the request is still wanted, so that it stores either before an erasure, which then
    removes it, or not at all. The lock of a killed process is free at once.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def path(self) -> Path:
        """The directory."""
        return self._root.absolute()

    def mark(self) -> str:
        """Return the store's id; a new store gets one. Raises Unavailable."""
        with _disk_errors():
            _make_private(self._root)
            with self._locked("deedbox-store", fcntl.LOCK_EX):
                found = self._read_mark()
                if found is None:
                    found = secrets.token_hex(16)
                    _publish(self._root / _MARK, found.encode() + b"\n")
        return found

    def mark_here(self) -> str | None:
        """Return the store's id; None if nothing was ever stored here. Raises Unavailable."""
        with _disk_errors():
            return self._read_mark()

    def _read_mark(self) -> str | None:
        try:
            text = (self._root / _MARK).read_text("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return text[:64] or None

    def put(
        self, source: str, request_id: str, data: bytes, kind: DocumentType, facts: Mapping[str, Any],
        wanted: Callable[[], bool] = lambda: True,
    ) -> StoredDocument:  # fmt: skip
        """Store a version and make it the current one; older versions stay, marked superseded.

        ``facts`` go into the sidecar. ``wanted`` says whether the request was not erased meanwhile. Raises
        ValueError for ids that are no safe file names, Unavailable if the disk refuses, Unwanted.
        """
        folder = self._folder(source, request_id)
        digest = hashlib.sha256(data).hexdigest()
        target = folder / f"{digest}.{kind}"
        sidecar = {
            **facts, "sha256": digest, "size": len(data), "file": target.name, "version": "current",
        }  # fmt: skip
        with _disk_errors():
            _make_private(folder.parent)
            with self._locked(source, fcntl.LOCK_SH):
                if not wanted():
                    raise Unwanted(f"{request_id} was erased while its document was fetched")
                _make_private(folder)
                _sweep_drafts(folder)
                if not target.exists():
                    _publish(target, data)
                # The new version becomes current before the old ones stop being it: there is always one.
                _publish(folder / f"{digest}.json", _json(sidecar))
                self._supersede(folder, digest)
        return StoredDocument(digest, len(data), target.resolve().as_uri())

    def open(self, source: str, request_id: str, sha256: str, kind: str) -> BinaryIO:
        """Open a stored version for reading. What is opened has been read: its digest is that one.

        Raises FileNotFoundError if there is none, Altered if the file is another one, Unavailable if the disk refuses.
        """
        if not is_file_safe(source) or not is_file_safe(request_id) or _DIGEST.fullmatch(sha256) is None:
            raise FileNotFoundError("the id cannot be a file name")
        path = self._root / source / request_id / f"{sha256}.{kind}"
        with contextlib.ExitStack() as stack:
            try:
                # A link could lead out of the store.
                file = stack.enter_context(os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb"))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
            except FileNotFoundError:
                raise
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EISDIR}:
                    raise FileNotFoundError("this is no file of the store") from None
                raise Unavailable(
                    f"the document store refused: {error.strerror or type(error).__name__}"
                ) from error
            if digest != sha256:
                raise Altered("the stored file is not the document that was stored")
            stack.pop_all()
        return file

    def paths(self, source: str, request_id: str) -> list[Path]:
        """Return what is stored for a request: every version, its sidecar, and drafts. Raises Unavailable."""
        if not is_file_safe(source) or not is_file_safe(request_id):
            return []  # an id under which nothing can have been stored
        folder = self._folder(source, request_id)
        with _disk_errors():
            if folder.is_symlink() or not folder.is_dir():
                return []  # a link leads out of the store: not ours
            return sorted(path for path in folder.iterdir() if path.is_symlink() or not path.is_dir())

    def erase(self, source: str, request_id: str) -> list[Path]:
        """Remove everything that is stored for a request, and its folder. Returns the files that were removed.

        Processes that might still store something must have learnt before that it is not wanted. Raises Unavailable.
        """
        with _disk_errors():
            if not (is_file_safe(source) and is_file_safe(request_id) and (self._root / source).is_dir()):
                return []
            folder = self._folder(source, request_id)
            with self._locked(source, fcntl.LOCK_EX):
                removed = self.paths(source, request_id)
                for path in removed:
                    path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # a folder in it is not ours, and stays
                    folder.rmdir()
                _flush(folder.parent)
        return removed

    @contextlib.contextmanager
    def _locked(self, source: str, how: int) -> Iterator[None]:
        # A file that is open for writing, not the folder: on NFS only such a lock reaches other hosts.
        descriptor = os.open(self._root / f".{source}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _folder(self, source: str, request_id: str) -> Path:
        if not is_file_safe(source) or not is_file_safe(request_id):
            raise ValueError("the id cannot become a file name")
        return self._root / source / request_id

    def _supersede(self, folder: Path, current: str) -> None:
        for path in folder.glob("*.json"):
            if path.stem == current or path.name.startswith("."):
                continue
            with contextlib.suppress(ValueError):
                sidecar = json.loads(path.read_bytes())
                if sidecar.get("version") == "current":
                    _publish(path, _json({**sidecar, "version": "superseded"}))


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the document store refused: {error.strerror or type(error).__name__}") from error


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _make_private(folder: Path) -> None:
    """Create a folder and its parents, each for its owner only, each name flushed to the disk."""
    if folder.is_dir():
        return
    _make_private(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster
        folder.mkdir(mode=0o700)
    _flush(folder.parent)


def _flush(folder: Path) -> None:
    """Flush a folder: a new name in it must survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep_drafts(folder: Path) -> None:
    """Remove what killed writers left behind: no reader ever looks at it, but it takes its space."""
    for draft in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > DRAFT_LIFE_S:
                draft.unlink()


def _publish(target: Path, data: bytes) -> None:
    """Write beside the target, flush to the disk, then rename: the name appears with the whole content only."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(target.parent)
