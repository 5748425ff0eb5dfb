"""``python -m deedbox.ingress`` as it runs in production, spoken to through a socket."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis

from deedbox.shared import codec
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import Server, listens, stop, wait_until
from tests.unit.ingress.wire import KEY, MULTIPART, callback, multipart

pytestmark = pytest.mark.real_redis

ACK = b"Hello API Event Received"


def environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    return {**inherited, "DEEDBOX_API_KEYS": KEY, "DEEDBOX_WEB_WORKERS": "1", **more}


@dataclass(frozen=True)
class Web:
    """A running web process."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def serving(redis_url: str, folder: Path, body_max_bytes: int = 65536) -> Iterator[Web]:
    port, log = free_port(), folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "deedbox.ingress"],
            env=environment(
                DEEDBOX_REDIS_URL=redis_url,
                PORT=str(port),
                DEEDBOX_BODY_MAX_BYTES=str(body_max_bytes),
                DEEDBOX_DATA_DIR=str(folder / "var"),
                DEEDBOX_SPOOL="off",
            ),
            stderr=stream,
        )
    try:
        wait_until(lambda: listens(port))
        yield Web(port, log, process)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def web(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(redis_broker.url, tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture
def raw(redis_broker: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_broker.url) as client:
        client.flushall()
        yield client
        client.flushall()  # other modules publish to this server, too


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def head(length: int | None, *more: str) -> bytes:
    lines = ["POST /callbacks HTTP/1.1", "Host: localhost", f"Content-Type: {MULTIPART}", *more]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(link: socket.socket) -> tuple[int, bytes]:
    """Read one answer with a Content-Length; return status and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        chunk = link.recv(65536)
        assert chunk, f"the connection ended after {found!r}"
        found += chunk
    header, _, body = found.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in header.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += link.recv(65536)
    return int(header.split()[1]), body


def test_a_sender_that_expects_100_continue_is_told_to_go_on(web: Web, raw: redis.Redis) -> None:
    body = multipart(callback())
    with connect(web.port) as link:
        link.sendall(head(len(body), "Accept: */*", "Expect: 100-continue", "User-Agent: Dropbox Sign API"))
        assert read_answer(link) == (100, b"")
        link.sendall(body)
        assert read_answer(link) == (200, ACK)
    message = raw.rpop(keys.RAW_QUEUE)
    assert isinstance(message, bytes)
    assert codec.body_of(Envelope.from_headers(*decode_kombu(message))) == callback()


def test_one_connection_carries_many_callbacks(web: Web, raw: redis.Redis) -> None:
    body = multipart(callback())
    with connect(web.port) as link:
        for _ in range(3):
            link.sendall(head(len(body)) + body)
            assert read_answer(link) == (200, ACK)
    assert raw.llen(keys.RAW_QUEUE) == 3


def test_a_body_in_chunks_is_taken(web: Web) -> None:
    body = multipart(callback())
    with connect(web.port) as link:
        half = len(body) // 2
        for part in (
            head(None),
            *(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:])),
            b"0\r\n\r\n",
        ):
            link.sendall(part)
        assert read_answer(link) == (200, ACK)


def test_an_endless_body_in_chunks_is_cut_off(web: Web) -> None:
    chunk = b"%x\r\n%b\r\n" % (8192, b" " * 8192)
    with connect(web.port) as link:
        link.sendall(head(None) + chunk * 20 + b"0\r\n\r\n")
        status, body = read_answer(link)
    assert status == 413
    assert b"body_too_large" in body


def test_an_announced_large_body_is_refused_unread(web: Web) -> None:
    with connect(web.port) as link:
        link.sendall(head(10**9))
        assert read_answer(link)[0] == 413


def test_a_frozen_broker_means_503_in_time_without_a_spool(web: Web, redis_broker: Server) -> None:
    body = multipart(callback())
    with connect(web.port) as link:
        link.sendall(head(len(body)) + body)
        assert read_answer(link)[0] == 200
        with redis_broker.frozen():
            started = time.monotonic()
            link.sendall(head(len(body)) + body)
            status, answer = read_answer(link)
            assert time.monotonic() - started < 3
        assert status == 503
        assert b"broker_unavailable" in answer
        link.sendall(head(len(body)) + body)
        assert read_answer(link)[0] == 200


def test_what_is_no_http_is_refused_and_not_logged(web: Web) -> None:
    with connect(web.port) as link:
        link.sendall(b"GARBAGE token-of-somebody\r\n\r\n")
        reply = link.recv(65536)
    assert b"400" in reply
    assert b"token-of-somebody" not in web.log.read_bytes()


def test_a_second_server_on_the_port_says_so_in_one_sentence(web: Web, redis_broker: Server) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "deedbox.ingress"],
        env=environment(DEEDBOX_REDIS_URL=redis_broker.url, PORT=str(web.port)),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert found.returncode == 1
    assert found.stderr.startswith(f"deedbox: PORT {web.port} is taken")
    assert "PORT" in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"), [("DEEDBOX_API_KEYS", ""), ("DEEDBOX_BROKER_URL", "no-url-s3cret"), ("PORT", "many")]
)
def test_wrong_settings_end_with_one_sentence(name: str, value: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "deedbox.ingress"],
        env=environment(**{"DEEDBOX_REDIS_URL": "redis://127.0.0.1:1/0", name: value}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert found.returncode == 2
    assert found.stderr.startswith(f"deedbox: {name}")
    assert found.stderr.count("\n") == 1
    assert "s3cret" not in found.stderr


def test_a_server_starts_no_second_one_that_its_supervisor_would_not_know(web: Web) -> None:
    """Law: gunicorn answers SIGUSR2 with a copy of itself that keeps the port and outlives what started the first one."""
    os.kill(web.process.pid, signal.SIGUSR2)
    wait_until(lambda: "SIGUSR2 is ignored" in web.log.read_text())
    assert len(psutil.Process(web.process.pid).children()) == 1
    assert listens(web.port)


def published_by(web: Web, raw: redis.Redis, body: bytes) -> str:
    """Send a callback, and return the address of the client that gave it to Redis."""
    with raw.monitor() as heard, connect(web.port) as link:  # type: ignore[no-untyped-call]
        link.sendall(head(len(body), "Connection: close") + body)
        assert read_answer(link) == (200, ACK)
        while True:
            command = heard.next_command()
            if command["command"].startswith(f"LPUSH {keys.RAW_QUEUE}"):
                return f"{command['client_address']}:{command['client_port']}"


def test_the_event_loop_publishes_small_callbacks_and_a_thread_those_that_could_make_it_wait(
    web: Web, raw: redis.Redis
) -> None:
    small = multipart(callback())
    large = multipart(callback(note=secrets.token_urlsafe(40_000)))
    published_by(web, raw, small)  # perhaps by the thread: until the loop's connection is open
    thread = published_by(web, raw, large)
    wait_until(lambda: published_by(web, raw, small) != thread)
    loop = published_by(web, raw, small)
    assert published_by(web, raw, large) == thread
    assert published_by(web, raw, small) == loop


def test_a_graceful_stop_ends_with_code_0_and_no_secret_in_the_log(
    redis_broker: Server, tmp_path: Path
) -> None:
    with serving(redis_broker.url, tmp_path) as web:
        body = multipart(callback())
        with connect(web.port) as link:
            link.sendall(head(len(body), "Connection: close") + body)
            assert read_answer(link) == (200, ACK)
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(20) == 0
    written = web.log.read_text()
    assert "server.listening" in written
    assert "event.received" in written
    for word in ("Traceback", KEY, "s3cret-word", "event_hash"):
        assert word not in written


def test_a_connection_that_waits_for_its_next_request_does_not_hold_up_a_stop(
    redis_broker: Server, tmp_path: Path
) -> None:
    """Proxies keep connections open. gunicorn waits for them until its grace ends, and is then killed in its turn."""
    with serving(redis_broker.url, tmp_path) as web, connect(web.port) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(kept)[0] == 200
        web.process.terminate()
        assert web.process.wait(8) == 0, "two seconds before the grace of ten ends"
        assert kept.recv(1) == b""
    assert "SIGKILL" not in web.log.read_text()
