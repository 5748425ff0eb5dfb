"""Senders that drip: a real gunicorn, one process with two threads, and more slow senders than that."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from deedbox.shared.runtime.front import RECEIVE_S
from tests.component.ingress.conftest import Server, free_port, listens, stop, wait_until
from tests.component.ingress.test_web_process import ACK, connect, environment, head, read_answer
from tests.unit.ingress.wire import callback, multipart

pytestmark = pytest.mark.real_redis

THREADS = 2
PATIENCE_S = 0.8
"""Instead of the real one, which would make these tests last."""

IMPATIENT = (
    f"from deedbox.shared.runtime import patience; patience.RECEIVE_S = {PATIENCE_S}; "
    "import runpy; runpy.run_module('ingress', run_name='__main__')"
)


@pytest.fixture(scope="module")
def port(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    found, folder = free_port(), tmp_path_factory.mktemp("slow")
    env = environment(
        DEEDBOX_REDIS_URL=redis_broker.url,
        PORT=str(found),
        DEEDBOX_WEB_THREADS=str(THREADS),
        DEEDBOX_DATA_DIR=str(folder / "var"),
        DEEDBOX_SPOOL="off",
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", IMPATIENT], env=env, stderr=log)
    try:
        wait_until(lambda: listens(found))
        yield found
    finally:
        stop(process)
    assert "Traceback" not in (folder / "log").read_text()


@contextmanager
def dripping(port: int, start: bytes) -> Iterator[socket.socket]:
    """Send the start of a request, then a byte now and then until it is over."""
    over = threading.Event()
    with connect(port) as link:
        link.sendall(start)

        def drip() -> None:
            while not over.wait(0.1):
                try:
                    link.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            yield link
        finally:
            over.set()
            thread.join()


IN_THE_HEAD = b"POST /callbacks HTTP/1.1\r\nHost: localhost\r\nX-"
IN_THE_BODY = head(100_000)


def answered(port: int) -> tuple[int, bytes]:
    body = multipart(callback())
    with connect(port) as link:
        link.sendall(head(len(body), "Connection: close") + body)
        return read_answer(link)


@pytest.mark.parametrize("start", [IN_THE_HEAD, IN_THE_BODY, b""], ids=["head", "body", "nothing"])
def test_senders_that_drip_stop_others_for_a_bounded_time_only(port: int, start: bytes) -> None:
    with ExitStack() as senders:
        for _ in range(2 * THREADS):
            senders.enter_context(dripping(port, start))
        assert answered(port) == (200, ACK)


def test_fewer_slow_senders_than_threads_stop_nobody(port: int) -> None:
    with dripping(port, IN_THE_BODY):
        started = time.monotonic()
        for _ in range(5):
            assert answered(port) == (200, ACK)
        assert time.monotonic() - started < PATIENCE_S


def test_a_sender_that_drips_its_body_is_told_that_it_ended_early(port: int) -> None:
    with dripping(port, IN_THE_BODY) as link:
        status, answer = read_answer(link)
    assert (status, b"bad_multipart" in answer) == (400, True)


def test_a_sender_that_pauses_within_reason_is_served(port: int) -> None:
    body = multipart(callback())
    with connect(port) as link:
        request = head(len(body), "Connection: close") + body
        for start in range(0, len(request), 200):
            link.sendall(request[start : start + 200])
            time.sleep(0.05)
        assert read_answer(link) == (200, ACK)


def test_patience_ends_before_the_vendors_does() -> None:
    """Dropbox Sign gives up after 25 s; the slowest answer takes 2 s more."""
    assert RECEIVE_S + 2 < 25
