"""The load generator: one process, one thread, prepared bytes, answers compared with the ack to the byte.

``python -m tests.bench.load`` reads a plan per line (JSON) and answers each with a result line. Always this one
rather than wrk: it runs everywhere, sends distinct bodies and reads answers; its own CPU time is in the report,
because it shares the cores with what it measures. It does not measure networks, TLS or slow senders.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tests.bench.payloads import read_file

ACK: Final = b"Hello API Event Received"
SILENCE_S: Final = 5.0
"""Without any answer for so long the subject counts as hung: the measurement ends with an error."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send."""

    port: int
    callbacks: str
    """File of requests (``payloads.write_file``)."""
    keep_alive: bool
    seconds: float = 3.0
    """Closed loop: no new request after so long."""
    connections: int = 16
    rate_per_s: float = 0.0
    """If given, an open loop: requests at the times of a Poisson process, whatever the answers do."""
    first: int = 0
    count: int = 1_000_000
    """Requests from the file, at most."""
    seed: int = 0


@dataclass(slots=True)
class Result:
    """What came back."""

    accepted: int = 0
    refused: int = 0
    """Whole answers other than the ack."""
    broken: int = 0
    """Connections that ended before an answer."""
    reopened: int = 0
    """Kept-alive connections that the server closed after an answer."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of the generator itself."""
    answer_ms: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    """Open loop: unix seconds at which each request was begun, connecting included; by place in the file."""


class _Sender:
    """Requests under way, one per connection."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = _requests(plan.callbacks, plan.port, plan.keep_alive)
        self._next = plan.first
        self._end = min(len(self._requests), plan.first + plan.count)
        self._selector = selectors.DefaultSelector()
        self._begun: dict[socket.socket, float] = {}
        self._partial: dict[socket.socket, bytes] = {}
        self.result = Result()

    @property
    def left(self) -> bool:
        return self._next < self._end

    @property
    def under_way(self) -> int:
        return len(self._begun)

    def begin(self, kept: socket.socket | None = None) -> None:
        """Send the next request, on a connection of its own unless one was kept."""
        begun = time.perf_counter()
        self.result.sent_at.append(time.time())
        connection = kept or self._open()
        self._begun[connection] = begun
        connection.sendall(self._requests[self._next])
        self._next += 1

    def _open(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._plan.port), SILENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without a timeout of Python's own: that costs a system call more per read and write.
        connection.settimeout(None)
        self._selector.register(connection, selectors.EVENT_READ)
        return connection

    def collect(self, wait_s: float, answered: Callable[[socket.socket | None], None]) -> bool:
        """Take the answers that are there. Returns whether there were any.

        ``answered`` gets each connection that may be used again, or None if it was closed.
        """
        ready = self._selector.select(wait_s)
        for key, _ in ready:
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            data = self._partial.pop(connection, b"") + connection.recv(65_536)
            if not data or connection not in self._begun:
                self._lost(connection)
                answered(None)
            elif _whole(data):
                answered(self._take(connection, data))
            else:
                self._partial[connection] = data
        return bool(ready)

    def _take(self, connection: socket.socket, data: bytes) -> socket.socket | None:
        result = self.result
        result.answer_ms.append((time.perf_counter() - self._begun.pop(connection)) * 1000)
        if data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\n" + ACK):
            result.accepted += 1
        else:
            result.refused += 1
        closing = b"onnection: close\r\n" in data
        result.reopened += closing and self._plan.keep_alive
        if self._plan.keep_alive and not closing:
            return connection
        self.drop(connection)
        return None

    def _lost(self, connection: socket.socket) -> None:
        self.result.broken += self._begun.pop(connection, None) is not None
        self.drop(connection)

    def drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            self.drop(key.fileobj)
        self._selector.close()


def closed_loop(plan: Plan) -> Result:
    """Keep ``connections`` requests under way; each answer is followed by the next request."""
    sender = _Sender(plan)
    started = time.perf_counter()
    until = started + plan.seconds

    def follow(kept: socket.socket | None) -> None:
        if sender.left and time.perf_counter() < until:
            sender.begin(kept)

    for _ in range(min(plan.connections, plan.count)):
        sender.begin()
    while sender.under_way and sender.collect(SILENCE_S, follow):
        pass
    return _finished(sender, started)


def open_loop(plan: Plan) -> Result:
    """Begin requests at the times of a Poisson process, each on a connection of its own."""
    rng = random.Random(plan.seed)
    sender = _Sender(plan)
    started = due = time.perf_counter()
    for _ in range(plan.count):
        due += rng.expovariate(plan.rate_per_s)
        while (wait_s := due - time.perf_counter()) > 0:
            sender.collect(wait_s, lambda _: None)
        sender.begin()
    while sender.under_way and sender.collect(SILENCE_S, lambda _: None):
        pass
    return _finished(sender, started)


def _finished(sender: _Sender, started: float) -> Result:
    result = sender.result
    result.seconds = time.perf_counter() - started
    result.broken += sender.under_way
    sender.close()
    return result


def _whole(data: bytes) -> bool:
    """Tell whether an answer is complete: by its Content-Length, which all subjects send."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return False
    _, named, length = head.lower().partition(b"content-length:")
    return bool(named) and len(body) >= int(length.split(b"\r\n", 1)[0])


@lru_cache(maxsize=4)
def _rests(path: str) -> Sequence[bytes]:
    return read_file(Path(path))


@lru_cache(maxsize=1)
def _requests(path: str, port: int, keep_alive: bool) -> Sequence[bytes]:  # noqa: FBT001 - a cache key
    kept = "keep-alive" if keep_alive else "close"
    head = f"POST /callbacks HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: {kept}\r\n".encode()
    return [head + rest for rest in _rests(path)]


def main() -> None:
    """Answer plans until stdin ends."""
    for line in sys.stdin:
        plan = Plan(**json.loads(line))
        _requests(plan.callbacks, plan.port, plan.keep_alive)
        cpu = time.process_time()
        result = open_loop(plan) if plan.rate_per_s else closed_loop(plan)
        result.cpu_s = time.process_time() - cpu
        reply: dict[str, Any] = asdict(result)
        if not plan.rate_per_s:
            reply["sent_at"] = []
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
