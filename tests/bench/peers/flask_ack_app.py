"""Reference: a Flask route that answers without reading the body. The floor of Flask under this gunicorn."""

from __future__ import annotations

from flask import Flask, Response

from tests.bench.peers.flask_side import ack

app = Flask(__name__)


@app.post("/callbacks")
def callbacks() -> Response:
    """Answer."""
    return ack()
