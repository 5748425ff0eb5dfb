"""The stored event: one fact as the sequencer keeps it and as the lanes read it.

Its hash holds facts and body in pieces of 64 bytes, because a hash none of whose values is longer is one string in Redis
(``hash-max-listpack-value``): half the memory. The scripts cut them (``lib.lua``); what is longer than all pieces stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self, TypeVar

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.callback import outward, parse_json
from deedbox.shared.core.errors import BadCallback, Undecodable
from deedbox.shared.core.fields import (
    WHAT_DECODERS_RAISE,
    Unreadable,
    natural,
    number,
    words,
    words_or_none,
)
from deedbox.shared.core.identity import body_digest, body_text
from deedbox.shared.core.signature import BodySignature, Origin, Trust
from deedbox.shared.core.values import value

T = TypeVar("T")

FORM: Final = "stored event"

SEALED: Final = "key:"
"""Before the codec of a body that is sealed by the data key of its stream (``deedbox.shared.redis.data_keys``)."""

ASIDE: Final = "aside"
"""Field of an event that was set aside instead of released: why."""

HEAD: Final = tuple("01234567")
"""Fields with the facts."""

_BODY: Final = tuple("abcdefghijklmnop")

FIELDS: Final = (*HEAD, *_BODY)
"""What ``load`` reads of an event: HEAD, and those with the body. ``lib.lua`` has the same list."""

BODY: Final = _BODY[0]
"""Holds the whole body if it is longer than ``PIECES_BYTES``."""

PIECE_BYTES: Final = 64
PIECES_BYTES: Final = PIECE_BYTES * len(_BODY)

UNREADABLE: Final = "unreadable"
"""Instead of the digest of a body that is damaged."""

CODEC_AT: Final = 0
"""Of the facts: the codec of the body."""

_IDS_AT: Final = (5, 6, 7, 8)
"""Of the facts: what is an id as a rule. There is its number instead of it, and it is before them in binary."""

FACTS_AND_BODY: Final = [HEAD[0], BODY]
"""All that most events have."""

_USUAL: Final = ("", Origin.CALLBACK.value)
"""Span and origin of most events, which leave them out."""

_SIGNATURES: Final = {each.value: each for each in BodySignature}
_ORIGINS: Final = {each.value: each for each in Origin}
_HEAD_MAX_BYTES: Final = 64 * 1024
_NAMES: Final = tuple(name.encode() for name in FIELDS)
_HEADS: Final = _NAMES[: len(HEAD)]
_BODIES: Final = _NAMES[len(HEAD) :]


def present(values: Iterable[bytes | None]) -> dict[bytes, bytes]:
    """Return those of ``FIELDS``, or of ``HEAD``, that there are."""
    return {name: each for name, each in zip(_NAMES, values, strict=False) if each is not None}


def head_of(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the facts of an event's hash, packed."""
    return _joined(_HEADS, fields)


def body_of(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the body of an event's hash, in the form that its facts name."""
    return _joined(_BODIES, fields)


def _joined(names: Iterable[bytes], fields: Mapping[bytes, bytes]) -> bytes:
    return b"".join([fields[name] for name in names if name in fields])


def facts_of(packed: bytes) -> list[Any]:
    """Return the facts of an event, the codec of its body first. Raises what ``WHAT_DECODERS_RAISE`` names."""
    return codec.unpack_row(packed, _HEAD_MAX_BYTES, _IDS_AT)


def packed(facts: Sequence[object]) -> bytes:
    """Inverse of ``facts_of``."""
    return codec.pack_row(facts, _IDS_AT)


def whole(head: bytes, body: bytes) -> dict[bytes, bytes]:
    """Return the fields of an event as the scripts take them, before they cut them. ``head``: its facts, packed."""
    return {_HEADS[0]: head, _BODIES[0]: body}


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
    """Of the canonical body; empty until there is another body of the fact, or the body is sealed."""
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

    def with_digest(self) -> Self:
        """Return the event with the digest of its body. One that cannot be read is like no other."""
        return (
            self if self.body_digest else replace(self, body_digest=self._digested(body_digest) or UNREADABLE)
        )

    def is_as(self, other: StoredEvent) -> bool:
        """Return whether two bodies are the same, as far as that is seen without their digests."""
        if self.body_digest or other.body_digest:
            return bool(self.body_digest) and self.body_digest == other.body_digest
        if self.body == other.body:
            return True
        text = self._digested(body_text)
        return text is not None and text == other._digested(body_text)

    def _digested(self, digest: Callable[[Mapping[str, Any]], T]) -> T | None:
        try:
            return digest(parse_json(codec.decode(self.codec, self.body)))
        except (BadCallback, Undecodable, RecursionError):
            return None

    def fields(self) -> list[str | bytes]:
        """Return field, value, ... of its hash, facts and body whole."""
        kind, mark, identifier = self.ordering_key.rpartition("/")
        rest = (self.span_id, self.origin.value)
        facts = (
            self.codec, self.body_signature.value, self.source, kind + mark, self.event_type, self.trace_id, self.body_digest,
            identifier, self.related_signature_id, self.event_time, self.received_at, self.arrived_at,
            *(() if rest == _USUAL else rest),
        )  # fmt: skip
        found: list[str | bytes] = [HEAD[0], packed(facts), BODY, self.body]
        if self.is_sealed:
            # For scripts: whose data key must live as long as this event.
            found += ("source", self.source, "sealed", self.ordering_key)
        return found

    @classmethod
    def load(cls, fingerprint: str, fields: Mapping[bytes, bytes]) -> Self | Unreadable:
        """Rebuild the event from its hash; Unreadable if it is none: damaged, expired or erased."""
        return cls.unpack(fingerprint, head_of(fields), body_of(fields))

    @classmethod
    def unpack(cls, fingerprint: str, head: bytes, body: bytes) -> Self | Unreadable:
        """Rebuild the event from its facts, packed, and its body; Unreadable if it is none."""
        try:
            return cls._read(fingerprint, head, body)
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM)

    @classmethod
    def _read(cls, fingerprint: str, packed: bytes, body: bytes) -> Self:
        (
            name, body_signature, source, kind, event_type, trace_id, digest, identifier, signature, event_time, received_at,
            arrived_at, *rest,
        ) = facts_of(packed)  # fmt: skip
        span_id, origin = rest or _USUAL
        return cls(
            fingerprint=fingerprint,
            source=words(source),
            ordering_key=words(kind) + words(identifier),
            event_type=words(event_type),
            event_time=natural(event_time),
            related_signature_id=words_or_none(signature),
            received_at=number(received_at),
            arrived_at=number(arrived_at),
            body_signature=_SIGNATURES[body_signature],
            trace_id=words(trace_id),
            body_digest=words(digest),
            body=body,
            codec=words(name),
            span_id=words(span_id),
            origin=_ORIGINS[origin],
        )
