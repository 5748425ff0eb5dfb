"""The stored event: one fact as the sequencer keeps it and as the lanes read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.callback import outward
from deedbox.shared.core.fields import (
    WHAT_DECODERS_RAISE,
    Unreadable,
    natural,
    number,
    row,
    words,
    words_or_none,
)
from deedbox.shared.core.signature import BodySignature, Origin, Trust
from deedbox.shared.core.values import value

FORM: Final = "stored event"

SEALED: Final = "key:"
"""Before the codec of a body that is sealed by the data key of its stream (``deedbox.shared.redis.data_keys``)."""

ASIDE: Final = "aside"
"""Field of an event that was set aside instead of released: why."""

FIELDS: Final = ("head", "body", "codec")
"""What ``load`` reads of an event."""


def present(values: Iterable[bytes | None]) -> dict[bytes, bytes]:
    """Return those of ``FIELDS`` that there are."""
    found = zip(FIELDS, values, strict=True)
    return {name.encode(): each for name, each in found if each is not None}


@value
class StoredEvent:
    """A fact: the best body that arrived for it, the first one of its level, and what is known about that arrival."""

    fingerprint: str
    source: str
    ordering_key: str
    event_type: str
    event_time: int
    related_signature_id: str | None
    received_at: float
    """Unix seconds, when ingress took it."""
    arrived_at: float
    """Unix seconds, Redis's clock, when it was appended to the inbox."""
    body_signature: BodySignature
    trace_id: str
    body_digest: str
    body: bytes
    """The callback's JSON text, in the form that ``codec`` names."""
    codec: str = ""
    span_id: str = ""
    """The sequencer's OpenTelemetry span; empty: this callback is not traced."""
    origin: Origin = Origin.CALLBACK
    """Who reported it."""

    @property
    def trust(self) -> Trust:
        """How far the body is trusted."""
        return Trust.of(self.body_signature, self.origin)

    @property
    def stream(self) -> str:
        """Source and ordering key: the unit of order."""
        return f"{self.source}:{self.ordering_key}"

    @property
    def is_sealed(self) -> bool:
        """Whether the body is encrypted."""
        return self.codec.startswith(SEALED)

    @property
    def identity(self) -> bytes:
        """What the body is: associated data of its encryption. The same where it is kept aside for a better one."""
        return f"body\0{self.stream}\0{self.body_digest}".encode()

    def payload(self) -> dict[str, Any] | Unreadable:
        """Return the callback as a dict, without ``event_hash``; Unreadable if the stored body is damaged."""
        try:
            document = jsontext.loads(codec.decode(self.codec, self.body))
        except WHAT_DECODERS_RAISE:
            return Unreadable("stored body", len(self.body))
        return outward(document) if isinstance(document, dict) else {}

    def fields(self) -> list[str | bytes]:
        """Return field, value, ... of the Redis hash."""
        head = {
            "source": self.source,
            "key": self.ordering_key,
            "type": self.event_type,
            "time": self.event_time,
            "signature": self.related_signature_id,
            "received_at": self.received_at,
            "arrived_at": self.arrived_at,
            "body_signature": str(self.body_signature),
            "trace_id": self.trace_id,
            "digest": self.body_digest,
            **({"span_id": self.span_id} if self.span_id else {}),
            **({} if self.origin is Origin.CALLBACK else {"origin": self.origin.value}),
        }
        return [
            "head",
            jsontext.dumps(head),
            "digest",
            self.body_digest,
            # Beside the digest, because the sequencer reads both of a fact that comes again.
            "trust",
            self.trust.word,
            "body",
            self.body,
            # Written always: a fact that comes again after its memory expired may meet the hash of the first time, which
            # a dead letter keeps.
            "codec",
            self.codec,
            # For scripts: whose data key must live as long as this event.
            *(("sealed", self.stream) if self.is_sealed else ()),
        ]

    @classmethod
    def load(cls, fingerprint: str, fields: Mapping[bytes, bytes]) -> Self | Unreadable:
        """Rebuild the event from its hash; Unreadable if it is none: damaged, expired or erased."""
        try:
            return cls._read(fingerprint, fields)
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM)

    @classmethod
    def _read(cls, fingerprint: str, fields: Mapping[bytes, bytes]) -> Self:
        head = row(jsontext.loads(fields[b"head"]))
        return cls(
            fingerprint=fingerprint,
            source=words(head["source"]),
            ordering_key=words(head["key"]),
            event_type=words(head["type"]),
            event_time=natural(head["time"]),
            related_signature_id=words_or_none(head["signature"]),
            received_at=number(head["received_at"]),
            arrived_at=number(head["arrived_at"]),
            body_signature=BodySignature(head["body_signature"]),
            trace_id=words(head["trace_id"]),
            body_digest=words(head["digest"]),
            body=fields[b"body"],
            codec=fields.get(b"codec", b"").decode(),
            span_id=words(head.get("span_id", "")),
            # Version 0.2.0 has written made_here for an internal event.
            origin=Origin(head.get("origin", Origin.DEEDBOX if head.get("made_here") else Origin.CALLBACK)),
        )
