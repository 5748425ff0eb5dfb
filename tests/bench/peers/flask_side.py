"""What the Flask peers share: the callback out of ``request.form``, and the answer."""

from __future__ import annotations

from typing import Any

from flask import Request, Response, abort

from tests.bench.peers import verification


def verified(request: Request) -> dict[str, Any]:
    """Return the callback. Ends the request with 400 or 401."""
    try:
        return verification.verified(request.form.get("json"))
    except verification.Refused as refused:
        abort(refused.status)


def ack() -> Response:
    """Return the answer that the vendor wants."""
    return Response(verification.ACK, mimetype="text/plain")
