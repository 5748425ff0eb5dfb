"""What was fetched and stored for one signature request, and where: ``document:<stream>``, ``stores``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import (
    WHAT_DECODERS_RAISE,
    Unreadable,
    flag,
    guarded,
    many,
    natural,
    number,
    row,
    words,
)
from deedbox.shared.core.gaps import SUSPECTED

FORM: Final = "document record"
STORE_FORM: Final = "store mark"

LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Unpacked."""

CLOCK_SLACK_S: Final = 60.0
"""How far (seconds) the vendor's clock may be off ours."""


@dataclass(slots=True)
class DocumentRecord:
    """The versions of a request's final document, and by whom they were fetched."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    """Oldest first: sha256, size, url, trigger (event type), fetched_at (unix seconds), store (its id)."""
    fetched_by: list[str] = field(default_factory=list)
    """Idempotency keys of the calls that fetched, so that a call repeated after a crash fetches nothing twice."""
    refetched: bool = False
    denied: str = ""
    """Idempotency key of the call that learnt that no document can be had, for a reason that needs no person."""

    @property
    def settled(self) -> bool:
        """Whether there is no first document to be fetched."""
        return bool(self.versions or self.denied)

    def fetched_after(self, event_time: int) -> bool:
        """Return whether a late ``downloadable`` is about a document that was fetched after it, when gaps were closed."""
        newest = self.versions[-1]
        before: float = newest["fetched_at"] - CLOCK_SLACK_S
        return newest["trigger"] == SUSPECTED and event_time < before

    def add(self, version: dict[str, Any], by: str) -> None:
        """Note a version as the current one."""
        self.refetched = self.refetched or bool(self.versions)
        self.fetched_by.append(by)
        self.denied = ""
        self.versions = [each for each in self.versions if each["sha256"] != version["sha256"]]
        self.versions.append(version)

    @classmethod
    def load(cls, data: bytes | None) -> Self | Unreadable:
        """Rebuild the record; an empty one if nothing is stored."""
        if not data:
            return cls()
        try:
            return cls._read(jsontext.loads(codec.text_of(data, LIMIT_BYTES)))
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM, len(data))

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        versions, fetched_by = many(found["versions"], _version), many(found["fetched_by"], words)
        return cls(list(versions), list(fetched_by), flag(found["refetched"]), words(found["denied"]))

    def dump(self) -> bytes:
        """Return the record, compressed."""
        return codec.pack(jsontext.dumps(asdict(self)))


def _version(value: object) -> dict[str, Any]:
    found = dict(row(value))
    return found | {
        "sha256": words(found["sha256"]),
        "size": natural(found["size"]),
        "url": words(found["url"]),
        "trigger": words(found["trigger"]),
        "fetched_at": number(found["fetched_at"]),
        "store": words(found["store"]),
    }


@dataclass(frozen=True, slots=True)
class StoreMark:
    """A document store, as the host that stored there last knows it."""

    store: str
    """The id in its mark file; the field's name in Redis."""
    host: str
    path: str
    used_at: float
    """Unix seconds."""

    @classmethod
    def load(cls, store: str, data: bytes | str) -> Self | Unreadable:
        """Rebuild the mark of a store."""
        return guarded(STORE_FORM, data, lambda document: cls._read(store, document))

    @classmethod
    def _read(cls, store: str, document: Any) -> Self:
        found = row(document)
        return cls(store, words(found["host"]), words(found["path"]), number(found["used_at"]))

    def dump(self) -> bytes:
        """Return its text."""
        return jsontext.dumps({"host": self.host, "path": self.path, "used_at": self.used_at})
