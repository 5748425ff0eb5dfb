"""A connection that has ended leaves nothing behind: collections of garbage are rare, and every callback may have its own."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gunicorn.config import Config

from deedbox.shared.runtime import serving
from deedbox.shared.runtime.asgi_worker import BoundedWorker, Connection
from tests.unit.ingress.test_waiting import a_callback, front_of, in_a_loop
from tests.unit.ingress.wire import MULTIPART, OTHER_KEY, RememberingBroker, callback, multipart

CONNECTIONS = 5
LIMIT = 60


class NotingWorker(BoundedWorker):
    """Remembers its connections, and does not keep them."""

    def opened(self, connection: Connection) -> None:
        self.noted.append(weakref.ref(connection))
        super().opened(connection)


@contextmanager
def without_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def worker_of(app: object) -> NotingWorker:
    config = Config()
    config.set("limit_request_line", serving.options("127.0.0.1", 0, "test")["limit_request_line"])
    worker = NotingWorker(0, 0, [], None, 30, config, serving.QuietLogger(config))
    worker.asgi, worker.noted = app, []
    worker.loop = asyncio.get_running_loop()
    return worker


async def answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    found = await reader.read()
    writer.close()
    await writer.wait_closed()
    return found


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("POST /callbacks", a_callback()),
        ("POST /callbacks", b"no form"),
        ("POST /callbacks", multipart(b"no JSON")),
        ("POST /callbacks", multipart(callback(key=OTHER_KEY))),
        ("TRACE /callbacks", a_callback()),
        ("POST /elsewhere", a_callback()),
        ("GET /healthz", b""),
    ],
)
def test_a_closed_connection_is_gone_before_any_collection(line: str, body: bytes) -> None:
    head = f"{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {MULTIPART}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def run() -> None:
        worker = worker_of(front)
        server = await asyncio.get_running_loop().create_server(lambda: Connection(worker), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answers = await asyncio.gather(*(answer(port, request) for _ in range(CONNECTIONS)))
        assert all(each.startswith(b"HTTP/1.1 ") for each in answers)
        async with asyncio.timeout(20):
            while len(worker.noted) < CONNECTIONS or any(  # noqa: ASYNC110 - nothing reports it
                each() for each in worker.noted
            ):
                await asyncio.sleep(0)
        server.close()
        worker.tmp.close()

    with front_of(RememberingBroker()) as front, without_collections():
        in_a_loop(run())


class CountedConnection(Connection):
    """Counts how often one is looked at to make room."""

    looks = 0

    @property
    def is_idle(self) -> bool:
        CountedConnection.looks += 1
        return super().is_idle


def test_a_connection_too_many_ends_the_longest_idle_one_and_looks_at_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else each new one would walk through all that an attacker, or a proxy, keeps open."""
    monkeypatch.setattr(CountedConnection, "looks", 0)

    async def run() -> None:
        worker = worker_of(front)
        worker.worker_connections = LIMIT
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: CountedConnection(worker), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def connected() -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            return reader

        async def served() -> asyncio.StreamReader:
            reader = await connected()
            writers[-1].write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            return reader

        writers: list[asyncio.StreamWriter] = []
        async with asyncio.timeout(60):
            idle = [await served() for _ in range(LIMIT)]
            assert CountedConnection.looks == 0
            for _ in range(CONNECTIONS):
                await served()
            assert CountedConnection.looks <= 2 * CONNECTIONS
            await asyncio.gather(*(reader.read() for reader in idle[:CONNECTIONS]))
            assert not any(reader.at_eof() for reader in idle[CONNECTIONS:])
            await asyncio.gather(*(connected() for _ in range(CONNECTIONS)))
            while worker.nr_conns > LIMIT:  # noqa: ASYNC110 - nothing reports it
                await asyncio.sleep(0)
        for writer in writers:
            writer.close()
        server.close()
        worker.tmp.close()

    with front_of(RememberingBroker()) as front:
        in_a_loop(run())
