from __future__ import annotations

import time

import pytest

from deedbox.ops.web.server import THREADS
from tests.component.ingress.test_slow_senders import dripping
from tests.component.ops_web.conftest import Ops, StartOps
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis


def test_the_process_serves_the_overview_on_loopback(start_ops: StartOps) -> None:
    page = start_ops().request("GET", "/")
    assert page.status == 200
    assert b"broker" in page.data


def test_on_another_address_everything_needs_a_token(start_ops: StartOps) -> None:
    ops = start_ops(DEEDBOX_OPS_BIND="0.0.0.0")  # noqa: S104 - what is tested
    assert ops.request("GET", "/", token=None).status == 302
    assert ops.request("GET", "/metrics", token=None).status == 401
    assert ops.request("GET", "/").status == 200
    assert ops.request("GET", "/healthz", token=None).status == 200


def test_the_process_lives_through_an_outage_of_redis(start_ops: StartOps, redis_server: RedisServer) -> None:
    ops = start_ops()
    redis_server.kill()
    try:
        assert ops.request("GET", "/").status == 503
    finally:
        redis_server.start()
    assert ops.request("GET", "/").status == 200


WELL_WITHIN_S = 8.0
"""Shorter than what a thread would wait for a slow sender."""


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nX-", b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n"],
    ids=["head", "body"],
)
def test_slow_senders_hold_up_nobody(ops: Ops, start: bytes) -> None:
    """There are more of them than threads."""
    with dripping(int(ops.url.rpartition(":")[2]), start, 2 * THREADS):
        for _ in range(3):
            began = time.monotonic()
            assert ops.request("GET", "/healthz").status == 200
            assert time.monotonic() - began < WELL_WITHIN_S


def test_wrong_tokens_end_the_start_with_one_sentence(start_ops: StartOps) -> None:
    with pytest.raises(AssertionError, match="DEEDBOX_OPS_TOKEN"):
        start_ops(DEEDBOX_OPS_TOKEN="short")
