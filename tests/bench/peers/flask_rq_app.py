"""Flask + RQ: verify, ``enqueue`` the dict, answer. RQ's defaults: pickle, zlib, 500 s of results."""

from __future__ import annotations

import os

from flask import Flask, Response, request
from redis import Redis
from rq import Queue

from tests.bench.peers.flask_side import ack, verified
from tests.bench.peers.rq_tasks import handle

app = Flask(__name__)
queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS_URL"]))


@app.post("/callbacks")
def callbacks() -> Response:
    """Take a callback."""
    queue.enqueue(handle, verified(request))
    return ack()
