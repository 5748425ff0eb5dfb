"""Senders that drip: a real gunicorn, one process with two threads, and many more slow senders than that."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from deedbox.shared.redis.embedded import free_port
from deedbox.shared.runtime.front import RECEIVE_S
from tests.component.ingress.conftest import Server, listens, stop, wait_until
from tests.component.ingress.test_web_process import ACK, connect, environment, head, read_answer
from tests.unit.ingress.wire import callback, multipart

pytestmark = pytest.mark.real_redis

THREADS = 2
PATIENCE_S = 2.0
"""Instead of the real one, in the tests of what happens at its end."""

IMPATIENT = (
    "from deedbox.shared.runtime import asgi_worker, front; "
    f"front.RECEIVE_S = asgi_worker.RECEIVE_S = {PATIENCE_S}; front.HELD_BYTES = 1_000_000; "
    "import runpy; runpy.run_module('deedbox.ingress', run_name='__main__')"
)


def with_option(name: str, value: object) -> str:
    """Return the web process as a program that has another option of gunicorn."""
    return (
        "from deedbox.shared.runtime import serving; options = serving.options; "
        f"serving.options = lambda *a: {{**options(*a), {name!r}: {value!r}}}; "
        "import runpy; runpy.run_module('deedbox.ingress', run_name='__main__')"
    )


@contextmanager
def serving(redis: Server, folder: Path, *command: str) -> Iterator[int]:
    port = free_port()
    env = environment(
        DEEDBOX_REDIS_URL=redis.url,
        PORT=str(port),
        DEEDBOX_WEB_THREADS=str(THREADS),
        DEEDBOX_DATA_DIR=str(folder / "var"),
        DEEDBOX_SPOOL="off",
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], env=env, stderr=log)
    try:
        wait_until(lambda: listens(port))
        yield port
    finally:
        stop(process)
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def port(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve as in production."""
    with serving(redis_broker, tmp_path_factory.mktemp("slow"), "-m", "deedbox.ingress") as found:
        yield found


@pytest.fixture(scope="module")
def impatient(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(redis_broker, tmp_path_factory.mktemp("impatient"), "-c", IMPATIENT) as found:
        yield found


@contextmanager
def dripping(port: int, start: bytes, count: int, every_s: float = 1.0) -> Iterator[list[socket.socket]]:
    """Send the start of requests, then a byte of each now and then until it is over."""
    over = threading.Event()
    with ExitStack() as stack:
        links = [stack.enter_context(connect(port)) for _ in range(count)]

        def drip() -> None:
            while not over.wait(every_s):
                for link in links:
                    with suppress(OSError):
                        link.sendall(b"x")

        for link in links:
            link.sendall(start)
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            yield links
        finally:
            over.set()
            thread.join()


WELL_WITHIN_S = 10.0
"""Shorter than the 15 s for which a thread would wait for a slow sender, and than the 25 s of Dropbox Sign."""

IN_THE_HEAD = b"POST /callbacks HTTP/1.1\r\nHost: localhost\r\nX-"
IN_THE_BODY = head(100_000)


def answered(port: int) -> tuple[int, bytes]:
    body = multipart(callback())
    with connect(port) as link:
        link.sendall(head(len(body), "Connection: close") + body)
        return read_answer(link)


@pytest.mark.parametrize("count", [64, 300])
@pytest.mark.parametrize("start", [IN_THE_HEAD, IN_THE_BODY, b""], ids=["head", "body", "nothing"])
def test_slow_senders_hold_up_nobody(port: int, start: bytes, count: int) -> None:
    """Dropbox Sign waits 25 s; a thread for each slow sender made it wait for 59."""
    with dripping(port, start, count):
        for _ in range(5):
            started = time.monotonic()
            assert answered(port) == (200, ACK)
            assert time.monotonic() - started < WELL_WITHIN_S


def test_a_sender_that_drips_its_body_is_told_that_it_did_not_arrive_whole(impatient: int) -> None:
    with dripping(impatient, IN_THE_BODY, 1, 0.1) as (link,):
        status, answer = read_answer(link)
    assert (status, b"bad_multipart" in answer) == (400, True)


@pytest.mark.parametrize("start", [IN_THE_HEAD, b""], ids=["head", "nothing"])
def test_a_connection_that_begins_no_request_is_closed(impatient: int, start: bytes) -> None:
    with connect(impatient) as link:
        link.sendall(start)
        link.settimeout(PATIENCE_S + 5)
        assert link.recv(1) == b""


def test_a_sender_that_pauses_within_reason_is_served(port: int) -> None:
    body = multipart(callback())
    with connect(port) as link:
        request = head(len(body), "Connection: close") + body
        for start in range(0, len(request), 200):
            link.sendall(request[start : start + 200])
            time.sleep(0.05)
        assert read_answer(link) == (200, ACK)


def test_when_memory_is_short_the_largest_unfinished_request_ends(impatient: int) -> None:
    small = multipart(callback())
    with connect(impatient) as first, connect(impatient) as largest, connect(impatient) as third:
        first.sendall(head(len(small)) + small[:-10])
        largest.sendall(head(900_000) + b"x" * 600_000)
        time.sleep(0.2)
        started = time.monotonic()
        third.sendall(head(900_000) + b"x" * 500_000)
        status, answer = read_answer(largest)
        assert time.monotonic() - started < PATIENCE_S / 2
        assert (status, b"bad_multipart" in answer) == (400, True)
        first.sendall(small[-10:])
        assert read_answer(first) == (200, ACK)


def test_a_connection_too_many_takes_the_place_of_one_that_waits(
    redis_broker: Server, tmp_path: Path
) -> None:
    with (
        serving(redis_broker, tmp_path, "-c", with_option("worker_connections", 20)) as port,
        ExitStack() as stack,
    ):
        idle = [stack.enter_context(connect(port)) for _ in range(60)]
        for _ in range(5):
            assert answered(port) == (200, ACK)
        idle[0].settimeout(5)
        assert idle[0].recv(1) == b""


def test_the_parser_in_c_is_used_where_it_is_installed(redis_broker: Server, tmp_path: Path) -> None:
    """With this option gunicorn serves no connection for which it does not find that parser."""
    pytest.importorskip("gunicorn_h1c")
    with serving(redis_broker, tmp_path, "-c", with_option("http_parser", "fast")) as port:
        assert answered(port) == (200, ACK)


def test_patience_ends_before_the_vendors_does() -> None:
    """Dropbox Sign gives up after 25 s; the slowest answer takes 2 s more."""
    assert RECEIVE_S + 2 < 25
