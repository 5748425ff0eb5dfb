"""A TCP proxy that delays every byte in each direction, and counts how often the client had to wait for an answer.

A *turn* is a request and its answer: it begins when the client sends and the server was the last to speak (or nobody
was yet). A pipeline is one turn however many commands it holds, because a network's delay is paid once for it; one so
long that its answers begin while it is still being sent may count as more, never as less.

Runs in a thread with an event loop of its own. asyncio's timers are good to about a tenth of a millisecond; the
measurement reads the real round trip off a PING.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.bench.processes import HOST

PAUSE_BYTES: Final = 4 * 1024 * 1024
"""Under way in one direction from which on its sender is not read any more."""


class Turns:
    """Counts the turns of one connection."""

    def __init__(self) -> None:
        self.count = 0
        self._answered = True

    def request(self) -> None:
        """Note that the client has sent something."""
        if self._answered:
            self.count += 1
        self._answered = False

    def answer(self) -> None:
        """Note that the client has got something."""
        self._answered = True


class _Pipe:
    """One direction: keeps what came for as long as the delay, in order."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, delay_s: float, deliver: Callable[[bytes | None], None]
    ) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self._deliver = deliver
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self.size = 0

    def push(self, data: bytes | None) -> None:
        """Take bytes, or None for the end."""
        if self._delay_s <= 0:
            self._deliver(data)
            return
        self._under_way.append((self._loop.time() + self._delay_s, data))
        self.size += len(data or b"")
        if len(self._under_way) == 1:
            self._loop.call_later(self._delay_s, self._pump)

    def _pump(self) -> None:
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            _, data = self._under_way.popleft()
            self.size -= len(data or b"")
            self._deliver(data)
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._pump)


@dataclass(slots=True)
class Proxy:
    """One listening port in front of a server."""

    target: int
    """Port of the server."""
    delay_s: float
    """In each direction."""
    port: int = 0
    clients: list[_Client] = field(default_factory=list, repr=False)
    """Everyone who ever connected."""

    @property
    def turns(self) -> int:
        """Turns of all connections so far."""
        return sum(each.turns.count for each in tuple(self.clients))

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return sum(not each.closed for each in tuple(self.clients))


class _Client(asyncio.Protocol):
    """A connection that a client opened, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy) -> None:
        loop = asyncio.get_running_loop()
        self.turns = Turns()
        self.closed = False
        self._proxy = proxy
        self._there = _Pipe(loop, proxy.delay_s, self._to_server)
        self._back = _Pipe(loop, proxy.delay_s, self._to_client)
        self._transport: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._early: list[bytes] = []
        """What came before the server was there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.clients.append(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._server, _ = await loop.create_connection(partial(_Server, self), HOST, self._proxy.target)
        except OSError:
            self.abort()
            return
        for data in self._early:
            self._server.write(data)
        if self.closed:
            self._server.close()

    def data_received(self, data: bytes) -> None:
        self.turns.request()
        self._there.push(data)
        if self._there.size > PAUSE_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        self._there.push(None)

    def answered(self, data: bytes | None) -> None:
        """Take what the server sent; None when it has closed."""
        self._back.push(data)

    def abort(self) -> None:
        """Close both connections at once."""
        for transport in (self._transport, self._server):
            if transport is not None:
                transport.abort()

    def _to_server(self, data: bytes | None) -> None:
        if self._transport is not None and not self.closed and self._there.size <= PAUSE_BYTES:
            self._transport.resume_reading()
        if data is None:
            if self._server is not None:
                self._server.close()
        elif self._server is None:
            self._early.append(data)
        else:
            self._server.write(data)

    def _to_client(self, data: bytes | None) -> None:
        if self._transport is None:
            return
        if data is None:
            self._transport.close()
            return
        self.turns.answer()
        self._transport.write(data)


class _Server(asyncio.Protocol):
    """The connection to the server."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.answered(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._client.answered(None)


@contextmanager
def proxies(target: int, delay_s: float, amount: int = 1) -> Iterator[tuple[Proxy, ...]]:
    """Run so many proxies in front of one server for the block, so that each of its clients can have its own."""
    found = tuple(Proxy(target, delay_s) for _ in range(amount))
    started, stopping = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(partial(_Client, each), HOST, 0) for each in found]
        for each, server in zip(found, servers, strict=True):
            each.port = server.sockets[0].getsockname()[1]
        loops.append(loop)
        started.set()
        await stopping.wait()
        for server in servers:
            server.close()
        for client in [client for each in found for client in each.clients]:
            client.abort()
        await asyncio.sleep(0.01)  # transports close in later turns of the loop

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="delay proxy", daemon=True)
    thread.start()
    started.wait()
    try:
        yield found
    finally:
        loops[0].call_soon_threadsafe(stopping.set)
        thread.join()
