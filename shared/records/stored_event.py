"""The stored event: one fact as the sequencer keeps it and as the lanes read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.core.values import value

ASIDE: Final = "aside"
"""Field of an event that was set aside instead of released: why."""


@value
class StoredEvent:
    """A fact: the first body that arrived for it, and what is known about that arrival."""

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

    @property
    def stream(self) -> str:
        """Source and ordering key: the unit of order."""
        return f"{self.source}:{self.ordering_key}"

    def payload(self) -> dict[str, Any]:
        """Return the whole callback as a dict. Raises Undecodable, ValueError, RecursionError."""
        document = jsontext.loads(codec.decode(self.codec, self.body))
        return document if isinstance(document, dict) else {}

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
        }
        return [
            "head",
            jsontext.dumps(head),
            "digest",
            self.body_digest,
            "body",
            self.body,
            # Written always: a fact that comes again after its memory expired may meet the hash of the first time, which
            # a dead letter keeps.
            "codec",
            self.codec,
        ]

    @classmethod
    def from_fields(cls, fingerprint: str, fields: Mapping[bytes, bytes]) -> Self:
        """Rebuild the event from its hash. Raises Undecodable if it is not one (expired or erased)."""
        try:
            head = jsontext.loads(fields[b"head"])
            return cls(
                fingerprint=fingerprint,
                source=head["source"],
                ordering_key=head["key"],
                event_type=head["type"],
                event_time=head["time"],
                related_signature_id=head["signature"],
                received_at=head["received_at"],
                arrived_at=head["arrived_at"],
                body_signature=BodySignature(head["body_signature"]),
                trace_id=head["trace_id"],
                body_digest=head["digest"],
                body=fields[b"body"],
                codec=fields.get(b"codec", b"").decode(),
                span_id=head.get("span_id", ""),
            )
        except (KeyError, ValueError, TypeError):
            raise Undecodable("the stored event is gone or of another version") from None
