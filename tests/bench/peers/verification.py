"""The verification that both peers do: the form field, its JSON, ``event_hash`` in constant time. No more.

Written as the vendor's guide and Flask's documentation suggest: ``request.form``, ``json.loads``, ``hmac``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any, Final

from flask import Request, Response, abort

API_KEY: Final = os.environ.get("BENCH_API_KEY", "").encode()


def verified(request: Request) -> dict[str, Any]:
    """Return the callback. Ends the request with 400 or 401."""
    text = request.form.get("json")
    if text is None:
        abort(400)
    try:
        payload: dict[str, Any] = json.loads(text)
        event = payload["event"]
        message = (event["event_time"] + event["event_type"]).encode()
        received = event["event_hash"]
    except (ValueError, KeyError, TypeError):
        abort(400)
    expected = hmac.new(API_KEY, message, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, received):
        abort(401)
    return payload


def ack() -> Response:
    """Return the answer that the vendor wants."""
    return Response("Hello API Event Received", mimetype="text/plain")
