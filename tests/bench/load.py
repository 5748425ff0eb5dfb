"""The load generator: one process, one thread, prepared bytes, answers compared with the ack to the byte.

``python -m tests.bench.load`` reads a plan per line (JSON) and answers each with a result line. Always this one
rather than wrk: it runs everywhere, sends distinct bodies and reads answers; its own CPU time is in the report,
because it shares the cores with what it measures. It does not measure networks, TLS or slow senders.

What it spends per request lowers every subject's rate alike, so the loop is kept short: ``poll`` instead of the
``selectors`` module, no collector of cycles, and an answer equal to the last that was examined needs no second look.
"""

from __future__ import annotations

import gc
import json
import random
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tests.bench.payloads import read_file

ACK: Final = b"Hello API Event Received"
SILENCE_S: Final = 5.0
"""Without any answer for so long the subject counts as hung: the measurement ends with an error."""

_ANSWER_BYTES: Final = 4_096


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
    started_at: float = 0.0
    """Unix seconds before the first connection."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of the generator itself."""
    answer_ms: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    """Open loop: unix seconds at which each request was begun, connecting included; by place in the file."""


class _Sender:
    """Requests under way, one per connection."""

    def __init__(self, plan: Plan) -> None:
        self._address = ("127.0.0.1", plan.port)
        self._keep_alive = plan.keep_alive
        self._requests = _requests(plan.callbacks, plan.keep_alive)
        self._next = plan.first
        self._end = min(len(self._requests), plan.first + plan.count)
        self._poll = select.poll()
        self._open: dict[int, socket.socket] = {}
        self._begun: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._good = b""
        """The last answer that was found to be the ack: most are the same bytes, up to the second in ``Date``."""
        self._good_closes = False
        self.result = Result(started_at=time.time())

    @property
    def left(self) -> bool:
        return self._next < self._end

    @property
    def under_way(self) -> int:
        return len(self._begun)

    def begin(self, kept: socket.socket | None = None) -> None:
        """Send the next request, on a connection of its own unless one was kept."""
        begun = time.perf_counter()
        connection = kept or self._connect()
        self._begun[connection.fileno()] = begun
        connection.sendall(self._requests[self._next])
        self._next += 1

    def _connect(self) -> socket.socket:
        # No timeout of Python's own, which costs a system call more per read and write. No TCP_NODELAY: a
        # request is one write with nothing unacknowledged before it.
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        number = connection.fileno()
        self._open[number] = connection
        connection.connect(self._address)
        self._poll.register(number, select.POLLIN)
        return connection

    def collect(self, wait_s: float) -> list[socket.socket | None] | None:
        """Take the answers that are there. Returns for each its connection if it may be used again, else None.

        No list at all: nothing was heard for ``wait_s``.
        """
        ready = self._poll.poll(wait_s * 1000)
        if not ready:
            return None
        answered: list[socket.socket | None] = []
        for number, _ in ready:
            connection = self._open[number]
            data = connection.recv(_ANSWER_BYTES)
            if not data or number not in self._begun:
                self.result.broken += self._begun.pop(number, None) is not None
                self._drop(number)
                answered.append(None)
                continue
            if number in self._partial:
                data = self._partial.pop(number) + data
            if data == self._good:
                closes = self._good_closes
                self.result.accepted += 1
            elif _whole(data):
                closes = self._examine(data)
            else:
                self._partial[number] = data
                continue
            self.result.answer_ms.append((time.perf_counter() - self._begun.pop(number)) * 1000)
            if closes:
                self._drop(number)
                answered.append(None)
            else:
                answered.append(connection)
        return answered

    def _examine(self, data: bytes) -> bool:
        """Count an answer. Returns whether its connection is at its end."""
        closing = b"onnection: close\r\n" in data
        self.result.reopened += closing and self._keep_alive
        closes = closing or not self._keep_alive
        if data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\n" + ACK):
            self.result.accepted += 1
            if not (closing and self._keep_alive):
                self._good, self._good_closes = data, closes
        else:
            self.result.refused += 1
        return closes

    def _drop(self, number: int) -> None:
        self._poll.unregister(number)
        self._partial.pop(number, None)
        self._open.pop(number).close()

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()


def closed_loop(plan: Plan) -> Result:
    """Keep ``connections`` requests under way; each answer is followed by the next request."""
    sender = _Sender(plan)
    started = time.perf_counter()
    until = started + plan.seconds
    for _ in range(min(plan.connections, plan.count)):
        sender.begin()
    while sender.under_way and (answered := sender.collect(SILENCE_S)) is not None:
        for kept in answered:
            if sender.left and time.perf_counter() < until:
                sender.begin(kept)
    return _finished(sender, started)


def open_loop(plan: Plan) -> Result:
    """Begin requests at the times of a Poisson process, each on a connection of its own."""
    rng = random.Random(plan.seed)
    sender = _Sender(plan)
    started = due = time.perf_counter()
    for _ in range(plan.count):
        due += rng.expovariate(plan.rate_per_s)
        while (wait_s := due - time.perf_counter()) > 0:
            sender.collect(wait_s)
        sender.result.sent_at.append(time.time())
        sender.begin()
    while sender.under_way and sender.collect(SILENCE_S) is not None:
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


@lru_cache(maxsize=2)
def _requests(path: str, keep_alive: bool) -> Sequence[bytes]:  # noqa: FBT001 - a cache key
    kept = "keep-alive" if keep_alive else "close"
    head = f"POST /callbacks HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {kept}\r\n".encode()
    return [head + rest for rest in read_file(Path(path))]


def main() -> None:
    """Answer plans until stdin ends."""
    # Nothing here makes cycles, and a collection in the middle of a loop would be seen as latency.
    gc.disable()
    for line in sys.stdin:
        plan = Plan(**json.loads(line))
        _requests(plan.callbacks, plan.keep_alive)
        cpu = time.process_time()
        result = open_loop(plan) if plan.rate_per_s else closed_loop(plan)
        result.cpu_s = time.process_time() - cpu
        reply: dict[str, Any] = asdict(result)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
