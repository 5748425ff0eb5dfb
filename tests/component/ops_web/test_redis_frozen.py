"""A Redis that takes connections and answers nothing: ops answers soon, names it, and shows what it saw last."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from tests.component.ops_web.conftest import TOKEN, Ops, StartOps
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis

PROMISED_S = 3.0
SLACK_S = 2.0
"""For a machine that does other work meanwhile."""

PATHS = ("/", "/live/overview", "/api/queues", "/api/requests/r1", "/dead", "/metrics")


@pytest.mark.usefixtures("state")
def test_every_page_answers_within_seconds_while_redis_is_frozen(
    start_ops: StartOps, redis_server: RedisServer
) -> None:
    """Law: one bound for an answer, not one per look or per try."""
    ops = start_ops()
    with redis_server.frozen():
        for path in PATHS:
            began = time.monotonic()
            answer = ops.request("GET", path, token=TOKEN)
            took_s = time.monotonic() - began
            assert took_s < PROMISED_S + SLACK_S, f"{path} took {took_s:.1f} s"
            assert answer.status == (200 if path == "/metrics" else 503), path


def test_the_overview_shows_what_was_seen_last_marked_as_old(
    start_ops: StartOps, redis_server: RedisServer, state: Redis
) -> None:
    state.zadd("deedbox:dead", {"1": time.time()})
    ops = start_ops()
    assert b"dead letter" in ops.request("GET", "/").data
    with redis_server.frozen():
        page = until(lambda: _outage(ops), "the last look is old")
    assert "does not answer (timed out)" in page
    assert redis_server.url.split("/")[2] in page
    assert "what was seen last" in page
    assert "Dead letters" in page


def _outage(ops: Ops) -> str:
    page = ops.request("GET", "/").data.decode()
    return page if "does not answer" in page else ""
