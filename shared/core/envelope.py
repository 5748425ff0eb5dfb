"""What travels inside Deedbox: the received JSON text, untouched, and what ingress knows about it.

Two forms, each with a schema version: the broker message (headers and body; ``deedbox.shared.broker.message`` has
kombu's wrapping of it), and the entry of inbox and spool.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Self

from deedbox.shared.core import jsontext
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.identity import is_shard
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.core.values import value

_SOURCE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

SCHEMA_VERSION: Final = 1

SEALED: Final = "ring:"
"""Before the codec of a body that is sealed (``deedbox.shared.sealing.envelopes``)."""


@value
class Envelope:
    """One received callback."""

    source: str
    received_at: float
    """Unix seconds by ingress's clock."""
    body_signature: BodySignature
    trace_id: str
    """32 hexadecimal characters, from ingress to the last action."""
    body: bytes
    """The received bytes of the ``json`` text, exactly, in the form that ``codec`` names."""
    redrive: str = ""
    """Mark of an operator's redrive of the whole callback; empty for a delivery."""
    codec: str = ""
    """How ``body`` is compressed (``deedbox.shared.codec``); empty: not at all."""
    key: str = ""
    """The ordering key as ingress derived it, so that the bridge need not parse the body; empty: not known."""
    span_id: str = ""
    """The last hop's OpenTelemetry span, 16 hexadecimal characters; empty: this callback is not traced."""
    shard: int | None = None
    """The shard of the ordering key, where the message says that instead of the key; None: it does not."""
    origin: Origin = Origin.CALLBACK
    """``reconciled`` for what Deedbox made of an answer of the API."""

    @property
    def is_sealed(self) -> bool:
        """Whether the body is encrypted, so that only the headers can say what it is about."""
        return self.codec.startswith(SEALED)

    def headers(self) -> dict[str, Any]:
        """Return the broker message's headers."""
        optional = {"redrive": self.redrive, "codec": self.codec, "key": self.key, "span_id": self.span_id}
        made = {} if self.origin is Origin.CALLBACK else {"origin": self.origin.value}
        shard = {} if self.shard is None else {"shard": self.shard}
        return {
            "deedbox": SCHEMA_VERSION,
            "source": self.source,
            "received_at": self.received_at,
            "body_signature": str(self.body_signature),
            "trace_id": self.trace_id,
            **{name: value for name, value in optional.items() if value},
            **shard,
            **made,
        }

    @classmethod
    def from_headers(cls, headers: Mapping[str, Any], body: bytes) -> Self:
        """Rebuild the envelope. Raises Undecodable for another schema version or ill-typed headers."""
        version = headers.get("deedbox")
        if version != SCHEMA_VERSION:
            raise Undecodable(f"schema version {str(version)[:20]} is not {SCHEMA_VERSION}")
        try:
            return cls(
                source=_source(headers["source"]),
                received_at=_time(headers["received_at"]),
                body_signature=BodySignature(headers["body_signature"]),
                trace_id=_text(headers["trace_id"]),
                body=body,
                redrive=_text(headers["redrive"]) if "redrive" in headers else "",
                codec=_text(headers["codec"]) if "codec" in headers else "",
                key=_text(headers["key"]) if "key" in headers else "",
                span_id=_text(headers["span_id"]) if "span_id" in headers else "",
                shard=_shard(headers["shard"]) if "shard" in headers else None,
                origin=_origin(headers["origin"]) if "origin" in headers else Origin.CALLBACK,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Undecodable(f"ill-formed headers ({type(error).__name__})") from None

    def pack(self) -> bytes:
        """Return the entry of inbox and spool: one line of headers, as short as they can be, then the body.

        The key of a readable body stays out: who reads an entry parses the body anyway. Beside a sealed one it is kept, so that
        an erasure finds what cannot be opened.
        """
        head = [SCHEMA_VERSION, self.source, self.received_at, self.body_signature.value, self.trace_id,
                self.redrive, self.codec, self.span_id,
                "" if self.origin is Origin.CALLBACK else self.origin.value, self.key if self.is_sealed else ""]  # fmt: skip
        while not head[-1]:
            head.pop()
        return jsontext.dumps(head) + b"\n" + self.body

    @classmethod
    def unpack(cls, entry: bytes) -> Self:
        """Inverse of ``pack``. Raises Undecodable."""
        head, newline, body = entry.partition(b"\n")
        try:
            values = jsontext.loads(head)
        except (ValueError, RecursionError):
            raise Undecodable("an inbox entry without its headers") from None
        if not newline or not isinstance(values, list) or not values or len(values) > len(_PACKED):
            raise Undecodable("an inbox entry without its headers")
        named = zip(_PACKED, values, strict=False)
        return cls.from_headers({name: value for name, value in named if value != ""}, body)


_PACKED: Final = (
    "deedbox", "source", "received_at", "body_signature", "trace_id", "redrive", "codec", "span_id", "origin", "key",
)  # fmt: skip
"""Headers of an entry by their place; empty ones at its end are left out."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _source(value: object) -> str:
    """Check a source's name: it becomes a part of keys and paths, and settings allow no other."""
    name = _text(value)
    if _SOURCE_NAME.fullmatch(name) is None:
        raise ValueError
    return name


def _time(value: object) -> float:
    seconds = float(_text(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    if not math.isfinite(seconds):
        raise ValueError
    return seconds


def _origin(value: object) -> Origin:
    if value != Origin.RECONCILED:
        raise ValueError
    return Origin.RECONCILED


def _shard(value: object) -> int:
    if not is_shard(value):
        raise ValueError
    return value


def decode_inbox(entry: bytes) -> tuple[float, Envelope]:
    """Split an inbox entry into the time of its append (seconds, Redis's clock) and the envelope."""
    at, _, rest = entry.partition(b"\n")
    try:
        appended_at = _time(at.decode("ascii"))
    except (ValueError, TypeError):
        raise Undecodable("an inbox entry without its time") from None
    return appended_at, Envelope.unpack(rest)
