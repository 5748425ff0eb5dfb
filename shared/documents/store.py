"""The document store: content-addressed files, of which a reader never sees half of one.

``{place}/{source}/{signature_request_id}/{sha256}.pdf`` (or ``.zip``) with a ``{sha256}.json`` beside it. Encrypted, its name
ends in ``.pdf.sealed``, and ``.key`` in the same folder holds the request's wrapped key.
Storing the same bytes twice is one file: repeats after a crash change nothing. A mark at the top tells one store from
another.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from deedbox.shared import sealing
from deedbox.shared.core.errors import DeedboxError, KeyMissing, Unavailable, Undecodable
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.documents.place import DocumentPlace, OpenFile

if TYPE_CHECKING:
    from deedbox.shared.sealing.documents import FolderKey

DocumentType = Literal["pdf", "zip"]

_MARK: Final = ".deedbox-store"
KEY_FILE: Final = ".key"
SEALED_SUFFIX: Final = ".sealed"

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


@dataclass(slots=True)
class Rewrapped:
    """What a rotation did."""

    done: int = 0
    damaged: int = 0
    missing: set[str] = field(default_factory=set)
    """Ids of keys that the ring lacks."""


class DocumentStore:
    """Stores documents in one place.

    A writer looks whether the request is still wanted. In a place with locks it looks under one: it stores before an
    erasure, which then removes it, or not at all. In a place without, an erasure is refused while a fetch of the request
    is under way (``deedbox.shared.redis.erasure``).
    """

    def __init__(self, place: DocumentPlace) -> None:
        self._place = place

    @property
    def where(self) -> str:
        """The directory, or the URL; it holds no secret."""
        return self._place.shown("")

    @property
    def locks(self) -> bool:
        """Whether an erasure waits for writers."""
        return self._place.locks

    def mark(self) -> str:
        """Return the store's id; a new store gets one. Raises Unavailable."""
        found = self.mark_here()
        if found is None:
            self._place.put_new(_MARK, secrets.token_hex(16).encode() + b"\n")
            found = self.mark_here()  # another process may have been faster
        return found or ""

    def mark_here(self) -> str | None:
        """Return the store's id; None if nothing was ever stored here. Raises Unavailable."""
        try:
            text = self._place.read(_MARK).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        return text[:64] or None

    def put(
        self, source: str, request_id: str, data: bytes, kind: DocumentType, facts: Mapping[str, Any],
        wanted: Callable[[], bool] = lambda: True,
    ) -> StoredDocument:  # fmt: skip
        """Store a version and make it the current one; older versions stay, marked superseded.

        ``facts`` go into the sidecar. ``wanted`` says whether the request was not erased meanwhile. Raises
        ValueError for ids that are no safe file names, Unavailable if the place refuses, Unwanted.
        """
        if not _safe(source, request_id):
            raise ValueError("the id cannot become a file name")
        folder, digest = f"{source}/{request_id}", hashlib.sha256(data).hexdigest()
        file = f"{digest}.{kind}"
        with self._place.writing(source):
            if not wanted():
                raise Unwanted(f"{request_id} was erased while its document was fetched")
            key = self._key(folder, make=True)
            if key is not None:
                data_stored, facts = key.seal(file, data), _sealed(key, facts)
                file += SEALED_SUFFIX
            else:
                data_stored = data
            sidecar = {**facts, "sha256": digest, "size": len(data), "file": file, "version": "current"}
            self._place.put_new(f"{folder}/{file}", data_stored)
            # The new version becomes current before the old ones stop being it: there is always one.
            self._place.replace(f"{folder}/{digest}.json", _json(sidecar))
            self._supersede(folder, digest)
        return StoredDocument(digest, len(data), self._place.url(f"{folder}/{file}"))

    def open(self, source: str, request_id: str, sha256: str, kind: str) -> OpenFile:
        """Open a stored version for reading. What is opened has been read: its digest is that one.

        Raises FileNotFoundError if there is none, Altered if the file is another one, Unavailable if the place refuses, or
        if the file is encrypted under a key that is not in the ring.
        """
        if not _safe(source, request_id) or _DIGEST.fullmatch(sha256) is None:
            raise FileNotFoundError("the id cannot be a file name")
        with contextlib.ExitStack() as stack:
            file = self._opened(f"{source}/{request_id}", f"{sha256}.{kind}")
            stack.callback(file.close)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise Altered("the stored file is not the document that was stored")
            file.seek(0)
            stack.pop_all()
        return file

    def _opened(self, folder: str, name: str) -> OpenFile:
        try:
            return self._place.open(f"{folder}/{name}")
        except FileNotFoundError:
            with self._place.open(f"{folder}/{name}{SEALED_SUFFIX}") as file:
                sealed = file.read()
        try:
            key = self._key(folder)
            if key is None:
                raise Altered("the key of the stored file is gone")
            return io.BufferedRandom(io.BytesIO(key.open(name, sealed)))  # type: ignore[arg-type]
        except KeyMissing as error:
            raise Unavailable(str(error)) from error
        except Undecodable as error:
            raise Altered(str(error)) from None

    def _key(self, folder: str, *, make: bool = False) -> FolderKey | None:
        """Return the key of a request's documents, None if there is none. ``make``: if this process encrypts, there is."""
        if make and sealing.ring() is None:
            return None
        from deedbox.shared.sealing.documents import FolderKey

        name = f"{folder}/{KEY_FILE}"
        try:
            found = self._place.read(name)
        except FileNotFoundError:
            if not make:
                return None
            # Before the first document; and read again, because another process may have been faster.
            self._place.put_new(name, FolderKey.new(folder).dump())
            found = self._place.read(name)
        try:
            return FolderKey.load(folder, found)
        except KeyMissing as error:
            raise Unavailable(str(error)) from error

    def key_id(self, source: str, request_id: str) -> str:
        """Return the id of the key of a request's documents; empty if there is none. Raises Unavailable."""
        try:
            found = json.loads(self._place.read(f"{source}/{request_id}/{KEY_FILE}"))
            return str(found["id"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return ""

    def rewrap(self) -> Rewrapped:
        """Wrap the keys of all requests anew, under the current key of the ring. Raises Unavailable."""
        from deedbox.shared.sealing.documents import FolderKey, wrapped_by

        ring, tally = sealing.ring(), Rewrapped()
        if ring is None:
            return tally
        for name in self._place.all_named(KEY_FILE):
            folder = name.rpartition("/")[0]
            try:
                text = self._place.read(name)
                if wrapped_by(text) == ring.current:
                    continue
                anew = FolderKey.load(folder, text).dump()
            except FileNotFoundError:
                continue  # erased meanwhile
            except KeyMissing as error:
                tally.missing.add(error.key_id)
                continue
            except Undecodable:
                tally.damaged += 1
                continue
            with self._place.writing(folder.partition("/")[0]):
                before = self._place.names(folder)
                if name not in before:
                    continue  # erased meanwhile
                self._place.replace(name, anew)
                tally.done += 1
                # A place without locks: an erasure in between must not leave the key behind.
                if len(before) > 1 and self._place.names(folder) == [name]:
                    self._place.remove(folder)
        return tally

    def files(self, source: str, request_id: str) -> list[str]:
        """Return where each file of a request is: every version, its sidecar, and drafts. Raises Unavailable."""
        if not _safe(source, request_id):
            return []  # an id under which nothing can have been stored
        return [self._place.shown(name) for name in self._place.names(f"{source}/{request_id}")]

    def erase(self, source: str, request_id: str) -> list[str]:
        """Remove everything that is stored for a request. Returns where the files were that were removed.

        Processes that might still store something must have learnt before that it is not wanted. Raises Unavailable.
        """
        if not _safe(source, request_id):
            return []
        with self._place.erasing(source):
            removed = self._place.remove(f"{source}/{request_id}")
        return [self._place.shown(name) for name in removed]

    def ping(self) -> None:
        """Write, read and remove a file, as storing and erasing do. Raises Unavailable."""
        folder = f"deedbox-check-{secrets.token_hex(8)}"
        name = f"{folder}/check"
        self._place.put_new(name, b"deedbox check\n")
        try:
            self._place.read(name)
        except FileNotFoundError:
            raise Unavailable("the document store does not hold what was just written") from None
        finally:
            self._place.remove(folder)

    def _supersede(self, folder: str, current: str) -> None:
        for name in self._place.names(folder):
            base = name.removeprefix(f"{folder}/")
            if not base.endswith(".json") or base.startswith((".", current)):
                continue
            with contextlib.suppress(ValueError, FileNotFoundError):
                sidecar = json.loads(self._place.read(name))
                if sidecar.get("version") == "current":
                    self._place.replace(name, _json({**sidecar, "version": "superseded"}))


def digest_of(file: str) -> str:
    """Return the digest that a file's name begins with."""
    return file.rpartition("/")[2].partition(".")[0]


def _safe(source: str, request_id: str) -> bool:
    return is_file_safe(source) and is_file_safe(request_id)


def _sealed(key: FolderKey, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Seal what may name a person: the title."""
    title = facts.get("title")
    return {**facts, "title": key.seal_text(title)} if isinstance(title, str) and title else dict(facts)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
