"""A broker message as kombu's Redis and SQS transports store it: how ours is written, and how any of kombu's is read."""

from __future__ import annotations

import binascii
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any, Final

from deedbox.shared.core import jsontext
from deedbox.shared.core.envelope import SCHEMA_VERSION, SEALED
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.identity import shard_of
from deedbox.shared.redis.keys import RAW_QUEUE

BODY_LIMIT_BYTES: Final = 512 * 1024 * 1024
"""Bound on what a compressed body may grow to."""

_NAMES: Final = (
    "source", "received_at", "body_signature", "trace_id", "shard", "codec", "redrive", "span_id", "key",
)  # fmt: skip
"""Headers of an envelope in the order in which a message in Redis lists them: names for each would cost a fifth of it."""

_OURS: Final = frozenset({"deedbox", *_NAMES})

_INFO: Final = {"exchange": "", "routing_key": RAW_QUEUE}
"""Where kombu puts a message back that its consumer did not acknowledge."""


def encode_kombu(headers: Mapping[str, Any], body: bytes) -> bytes:
    """Wrap a message for the raw queue; ``decode_kombu`` unwraps it.

    As short as kombu lets it be, because callbacks that wait are in memory: of what kombu would add, only what its
    consumers cannot do without, and an envelope's headers as a list. Of an ordering key only the shard is left,
    unless the body is sealed: then nothing else says what it is about.
    """
    listed = _listed(headers)
    head = jsontext.dumps(listed)
    # A name that no other message has, unless it is the same to the byte: kombu's consumers keep under it what they
    # have not acknowledged.
    tag = binascii.b2a_base64(hashlib.blake2b(head + body, digest_size=6).digest(), newline=False).decode()
    return jsontext.dumps(
        {
            "body": binascii.b2a_base64(body, newline=False).decode(),
            "headers": listed,
            "properties": {"body_encoding": "base64", "delivery_tag": tag, "delivery_info": _INFO},
        }
    )


def _listed(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return an envelope's headers as ``{"deedbox": [version, source, ...]}``; any other headers as they are."""
    found = dict(headers)
    if found.get("deedbox") != SCHEMA_VERSION or not found.keys() <= _OURS or None in found.values():
        return found
    if "key" in found and not str(found.get("codec", "")).startswith(SEALED):
        key = found.pop("key")
        found["shard"] = shard_of(f"{found.get('source')}:{key}")
    values = [found.get(name) for name in _NAMES]
    while values and values[-1] is None:
        values.pop()
    return {"deedbox": [SCHEMA_VERSION, *values]}


def decode_kombu(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Unwrap a message. Returns headers and body; raises Undecodable."""
    try:
        document = jsontext.loads(message)
        headers = document["headers"]
        body = document["body"]
        encoding = document["properties"].get("body_encoding")
        data = binascii.a2b_base64(body, strict_mode=True) if encoding == "base64" else body.encode()
        compression = headers.get("compression")
        listed = headers.get("deedbox")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise Undecodable(f"not a message of kombu ({type(error).__name__})") from None
    if isinstance(listed, list) and listed:
        named = zip(_NAMES, listed[1:], strict=False)
        headers = {"deedbox": listed[0]} | {name: value for name, value in named if value is not None}
    return headers, decompress(data, compression)


def decompress(data: bytes, compression: object) -> bytes:
    """Undo the compression that a message's header names. Raises Undecodable."""
    if compression is None:
        return data
    # kombu's name of zlib is the latter.
    if not isinstance(compression, str) or compression not in {"zlib", "application/x-gzip"}:
        raise Undecodable("a compression that this version does not know")
    try:
        inflater = zlib.decompressobj()
        body = inflater.decompress(data, BODY_LIMIT_BYTES)
    except zlib.error:
        raise Undecodable("a compressed body that is damaged") from None
    if not inflater.eof:
        raise Undecodable("a compressed body that is cut off or too large")
    return body
