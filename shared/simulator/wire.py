"""A callback on the wire, byte for byte: the JSON text and the multipart request around it.

Facts: docs/protocol.md, section 1. Pure: the same text and key give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deedbox.shared.core.signature import content_sha256

ACK: Final = b"Hello API Event Received"
"""The whole body of an answer that counts as an acknowledgement."""

USER_AGENT: Final = "Dropbox Sign API"

_BOUNDARY_DASHES: Final = "-" * 24
"""libcurl puts 24 dashes in front of its random part; parsers that strip dashes fail on them."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What goes over the connection after the request line and ``Host``."""

    headers: Mapping[str, str]
    body: bytes


def php_json(document: Mapping[str, Any]) -> bytes:
    r"""Encode as PHP's ``json_encode`` does by default: ``\/`` for slashes, ``\uXXXX`` beyond ASCII, no blanks.

    Matters because ``Content-Sha256`` covers this text: a receiver that parses and encodes again gets another.
    """
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("/", "\\/").encode("ascii")


def multipart_request(json_text: bytes, api_key: str) -> WireRequest:
    """Build headers and body of one delivery: one form field ``json``, without a part ``Content-Type``.

    The boundary is derived from the text, so that a seeded run repeats byte for byte.
    """
    boundary = _BOUNDARY_DASHES + hashlib.sha256(json_text).hexdigest()[:16]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="json"\r\n\r\n'
    body = head.encode() + json_text + f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Content-Sha256": content_sha256(api_key, json_text),
        "Content-Length": str(len(body)),
        "Expect": "100-continue",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    return WireRequest(headers, body)
