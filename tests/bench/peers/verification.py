"""The verification that all peers do: the form field, its JSON, ``event_hash`` in constant time. No more.

Written as the vendor's guide suggests: ``json.loads``, ``hmac``. Each framework reads the form in its own way.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any, Final

API_KEY: Final = os.environ.get("BENCH_API_KEY", "").encode()
ACK: Final = "Hello API Event Received"


class Refused(Exception):
    """The callback is not one; carries the HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def verified(text: str | None) -> dict[str, Any]:
    """Return the callback. Raises Refused."""
    if text is None:
        raise Refused(400)
    try:
        payload: dict[str, Any] = json.loads(text)
        event = payload["event"]
        message = (event["event_time"] + event["event_type"]).encode()
        received = event["event_hash"]
    except (ValueError, KeyError, TypeError):
        raise Refused(400) from None
    expected = hmac.new(API_KEY, message, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, received):
        raise Refused(401)
    return payload
