"""The form of a clean event that goes to an HTTP receiver, and its signature.

Source of the three headers and of the signature: the Standard Webhooks specification, 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from deedbox.shared.core.request_snapshot import TIME_MAX

_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = (24, 64)
"""How long a decoded secret is, as the specification demands."""


def key_of(secret: object) -> bytes:
    """Return the bytes of a ``whsec_…`` secret. Raises ValueError with a clause that shows no secret."""
    low, high = _KEY_BYTES
    key = b""
    if isinstance(secret, str) and secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            key = b""
    if not low <= len(key) <= high:
        raise ValueError(
            f"is not {_PREFIX} and the base64 of {low} to {high} random bytes; `openssl rand -base64 32` makes them"
        )
    return key


def secret_of(key: bytes) -> str:
    """Return a key as the receiver's library takes it."""
    return _PREFIX + base64.b64encode(key).decode()


def json_of(facts: Mapping[str, Any]) -> bytes:
    """Return the JSON of a message. ASCII: JSON can spell half characters, which no encoding has."""
    return json.dumps(facts, separators=(",", ":")).encode("ascii")


def body_of(event_type: str, event_time: int, data: Mapping[str, Any]) -> bytes:
    """Return the body: ``type``, ``timestamp`` (of the event, ISO 8601) and ``data``."""
    at = datetime.fromtimestamp(min(event_time, TIME_MAX), UTC).isoformat().replace("+00:00", "Z")
    return json_of({"type": event_type, "timestamp": at, "data": data})


def headers_of(key: bytes, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message that is sent at ``at`` (Unix seconds)."""
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "Deedbox",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
