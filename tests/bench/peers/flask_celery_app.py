"""Flask + Celery: verify, ``delay`` the dict, answer. Celery's defaults: JSON."""

from __future__ import annotations

from flask import Flask, Response, request

from tests.bench.peers.celery_app import handle
from tests.bench.peers.flask_side import ack, verified

app = Flask(__name__)


@app.post("/callbacks")
def callbacks() -> Response:
    """Take a callback."""
    handle.delay(verified(request))
    return ack()
