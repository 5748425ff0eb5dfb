"""The state of one signature request: what ``track_status`` and ``fetch_documents`` keep about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from redis import Redis

from deedbox.shared.archives.stream_archive import StreamArchive
from deedbox.shared.core import status
from deedbox.shared.core.identity import is_file_safe
from deedbox.shared.core.request_snapshot import time_of
from deedbox.shared.core.signature import Trust
from deedbox.shared.records import read_model
from deedbox.shared.records.document_record import DocumentRecord
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.connections import translating

Replies = Sequence[bytes | None]
"""Of ``request_keys``: the read model, the document record, and what both are in of a quiet request."""

FIELDS: Final = ("state", "signers", "title", "test_mode")
"""Fields, or groups of them, of which each has its own level of trust."""

_FILE: Final = re.compile(r"([0-9a-f]{64})\.(pdf|zip)(?:\.sealed)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Document:
    """One stored version of the final document."""

    n: int
    """1 for the oldest."""
    sha256: str
    type: str
    """``pdf`` or ``zip``."""
    size_bytes: int
    stored_at: float
    """Unix seconds."""
    current: bool
    store: str
    """Id of the document store that it was put into."""


@dataclass(frozen=True, slots=True)
class SignerView:
    """One signer, without name and address."""

    signature_id: str
    state: str


@dataclass(frozen=True, slots=True)
class SignatureRequest:
    """One signature request of one source."""

    source: str
    signature_request_id: str
    state: str
    ready_to_sign: bool
    """Signers can sign: attested or confirmed."""
    complete: bool
    """Everybody has signed: confirmed."""
    closed: bool
    """It ended otherwise, and will never be further than it is: attested or confirmed."""
    vouched: str
    """The state by what is attested or confirmed: what callbacks only claim is left out."""
    trust: dict[str, str]
    """Level of trust by field: state, signers, title, test_mode."""
    unconfirmed: bool
    """Only a look-up could make an answer of what callbacks claim."""
    signers: list[SignerView]
    documents: list[Document]
    title: str | None
    test_mode: bool | None
    updated_at: int | None
    """Unix seconds, event time."""

    @classmethod
    def of(cls, redis: Redis, source: str, request_id: str, replies: Replies) -> Self | None:
        """Build it from what Redis holds under ``request_keys``; None if nothing is known. Raises Unavailable."""
        stream = f"{source}:signature_request/{request_id}"
        packed, documents_packed = _of_archive(*replies)
        model = (read_model.load(data_keys.open_value(redis, stream, packed)) or {}) if packed else {}
        record = DocumentRecord.load(documents_packed) or DocumentRecord()
        if not model and not record.versions:
            return None
        documents = _documents(record)
        closed = bool(model.get("closed"))
        # A stored document proves that everybody has signed: it was fetched when the API said so.
        proved = bool(documents) and not closed
        state, trust = str(model.get("state", "unknown")), dict(model.get("trust", {}))
        if proved and (state not in status.COMPLETE or not model.get("complete")):
            state, trust["state"] = "downloadable", Trust.CONFIRMED.word
        title, test_mode = model.get("title"), model.get("test_mode")
        return cls(
            source=source,
            signature_request_id=request_id,
            state=state,
            ready_to_sign=bool(model.get("ready_to_sign")) and not proved,
            vouched="downloadable" if proved else str(model.get("vouched", "unknown")),
            complete=proved or bool(model.get("complete")),
            closed=closed,
            trust={name: level for name, level in trust.items() if name in FIELDS},
            unconfirmed=status.awaits_confirmation(model) and not proved,
            signers=[
                SignerView(signature, str(place)) for signature, place in model.get("signers", {}).items()
            ],
            documents=documents,
            title=title if isinstance(title, str) else None,
            test_mode=test_mode if isinstance(test_mode, bool) else None,
            updated_at=time_of(model.get("updated_at")),
        )


def request_keys(source: str, request_id: str) -> tuple[str, str, str] | None:
    """Return the keys that hold a request; None for a text that is not an id, and then no key is read."""
    if not is_file_safe(source) or not is_file_safe(request_id):
        return None
    stream = f"{source}:signature_request/{request_id}"
    return keys.request(stream), keys.document(stream), keys.archive(stream)


def read(redis: Redis, source: str, request_id: str) -> SignatureRequest | None:
    """Read a request; None if nothing is known about it. Raises Unavailable."""
    names = request_keys(source, request_id)
    if names is None:
        return None
    ask: Callable[[tuple[str, ...]], Any] = redis.mget
    with translating():
        replies = ask(names)
    return SignatureRequest.of(redis, source, request_id, replies)


def _of_archive(
    model: bytes | None, record: bytes | None, archive: bytes | None
) -> tuple[bytes | None, bytes | None]:
    """Take what is not there by itself from the archive."""
    found = StreamArchive.load(archive) if archive is not None else None
    if not found:
        return model, record
    return model or found.values.get("request"), record or found.values.get("document")


def _documents(record: DocumentRecord) -> list[Document]:
    found = []
    for n, row in enumerate(record.versions, 1):
        name = _FILE.fullmatch(row["url"].rpartition("/")[2])
        if name is not None and name[1] == row["sha256"]:
            current = n == len(record.versions)
            size, stored_at, store = row["size"], row["fetched_at"], row["store"]
            found.append(Document(n, name[1], name[2], size, stored_at, current=current, store=store))
    return found
