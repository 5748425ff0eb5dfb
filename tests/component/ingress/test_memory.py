"""What large hostile bodies cost: the memory of a real web process, while several arrive at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import Server, listens, stop, wait_until
from tests.component.ingress.test_web_process import ACK, connect, environment, head, read_answer
from tests.unit.ingress.wire import BOUNDARY, callback, multipart

pytestmark = pytest.mark.real_redis

MIB = 1024 * 1024
BODY_BYTES = 10 * MIB
SENDERS = 6
ROOM_BYTES = 400 * MIB
"""What a process with eight threads may grow to: a body and its copies for each, and one parsed document."""


@pytest.fixture(scope="module")
def web(
    redis_broker: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, psutil.Process]]:
    port, folder = free_port(), tmp_path_factory.mktemp("memory")
    env = environment(
        DEEDBOX_REDIS_URL=redis_broker.url, PORT=str(port), DEEDBOX_DATA_DIR=str(folder), DEEDBOX_SPOOL="off"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "deedbox.ingress"], env=env, stderr=log)
    try:
        # The master listens before it forks.
        wait_until(lambda: listens(port) and len(psutil.Process(process.pid).children()) == 1)
        [worker] = psutil.Process(process.pid).children()
        yield port, worker
    finally:
        stop(process)
    assert "Traceback" not in (Path(folder) / "log").read_text()


def _filled(unit: bytes) -> bytes:
    return unit * ((BODY_BYTES - 4096) // len(unit))


def _parts() -> bytes:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'.encode()
    return _filled(part) + f"--{BOUNDARY}--\r\n".encode()


def _json(start: bytes, unit: bytes, end: bytes) -> bytes:
    return multipart(start + _filled(unit)[:-1] + end)


BODIES: dict[str, Callable[[], bytes]] = {
    "tiny parts": _parts,
    "empty lists": lambda: _json(b'{"a":[', b"[],", b"]}"),
    "small objects": lambda: _json(b'{"a":[', b'{"b":1},', b"]}"),
    "short strings": lambda: _json(b'{"a":[', b'"ab",', b"]}"),
    "strings as dense as allowed": lambda: _json(b'{"a":[', b'"abcde",', b"]}"),
    "objects as dense as allowed": lambda: _json(b'{"a":[', b'{"b":"' + b"x" * 55 + b'"},', b"]}"),
    "deep": lambda: _json(b'{"a":', b"[", b"}"),
    "wide characters": lambda: multipart('{"a":"\U0001f600'.encode() + _filled(b"x") + b'"}'),
    "boundaries": lambda: _filled(f"\r\n--{BOUNDARY}x".encode()),
}


@pytest.mark.parametrize("name", BODIES)
def test_large_hostile_bodies_are_refused_within_bounded_memory(
    web: tuple[int, psutil.Process], name: str
) -> None:
    port, worker = web
    body = BODIES[name]()
    assert len(body) <= BODY_BYTES
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], worker.memory_info().rss)

    def send(_number: int) -> int:
        with connect(port) as link:
            link.settimeout(60)
            link.sendall(head(len(body), "Connection: close") + body)
            return read_answer(link)[0]

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(SENDERS) as pool:
            statuses = list(pool.map(send, range(SENDERS)))
    finally:
        over.set()
        watcher.join()
    assert statuses == [400] * SENDERS
    assert peak[0] < ROOM_BYTES


def test_afterwards_the_process_serves_on(web: tuple[int, psutil.Process]) -> None:
    port, worker = web
    body = multipart(callback())

    def is_served() -> bool:
        with connect(port) as link:
            link.sendall(head(len(body), "Connection: close") + body)
            return read_answer(link) == (200, ACK)

    wait_until(is_served)  # a disk that is busy may refuse one: there is no spool here
    assert worker.is_running()
