"""Laws of the load generator: every request is another one, and only the very ack counts as accepted."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bench.load import ACK, Plan, closed_loop, open_loop
from tests.bench.payloads import lifecycles, write_file

Answer = Callable[[int], list[bytes]]
"""Number of a request to the pieces of its answer."""


def answer(body: bytes = ACK, status: str = "200 OK", *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


@contextmanager
def server(answers: Answer, *, closing: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Answer on a port; yields it, and the bodies that came."""
    bodies: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while True:
                length = 0
                while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if not length:
                    return
                bodies.append(self.rfile.read(length))
                for piece in answers(len(bodies) - 1):
                    self.wfile.write(piece)
                if closing:
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: Any) -> None:
            """Let the client be gone."""

    with Server(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield serving.server_address[1], bodies
        finally:
            serving.shutdown()
            thread.join()


@pytest.fixture
def callbacks(tmp_path: Path) -> str:
    write_file(tmp_path / "callbacks", lifecycles(12))
    return str(tmp_path / "callbacks")


@pytest.mark.parametrize("keep_alive", [True, False])
def test_every_request_is_sent_once_and_each_is_another(callbacks: str, keep_alive: bool) -> None:  # noqa: FBT001
    with server(lambda _: [answer()]) as (port, bodies):
        result = closed_loop(Plan(port, callbacks, keep_alive, seconds=30, connections=3))
    assert (result.accepted, result.refused, result.broken) == (12, 0, 0)
    assert len(set(bodies)) == len(bodies) == 12
    assert len(result.answer_ms) == 12


def test_an_answer_that_differs_by_a_byte_is_none(callbacks: str) -> None:
    with server(lambda number: [answer(ACK if number else ACK + b"\n")]) as (port, _):
        result = closed_loop(Plan(port, callbacks, keep_alive=True, seconds=30, connections=1))
    assert (result.accepted, result.refused) == (11, 1)


def test_an_ack_with_another_status_is_none(callbacks: str) -> None:
    with server(lambda number: [answer(status="503 Busy" if number == 5 else "200 OK")]) as (port, _):
        result = closed_loop(Plan(port, callbacks, keep_alive=True, seconds=30, connections=1))
    assert (result.accepted, result.refused) == (11, 1)


def test_an_answer_may_come_in_pieces(callbacks: str) -> None:
    with server(lambda _: [answer()[:20], answer()[20:-3], answer()[-3:]]) as (port, _):
        result = closed_loop(Plan(port, callbacks, keep_alive=True, seconds=30, connections=2))
    assert (result.accepted, result.broken) == (12, 0)


def test_a_connection_that_ends_before_its_answer_is_broken(callbacks: str) -> None:
    with server(lambda _: [answer()[:20]], closing=True) as (port, _):
        result = closed_loop(Plan(port, callbacks, keep_alive=True, seconds=30, connections=2))
    assert (result.accepted, result.broken) == (0, 12)


def test_a_server_that_closes_a_kept_connection_after_its_answer_breaks_nothing(callbacks: str) -> None:
    with server(lambda _: [answer(ACK, "200 OK", "Connection: close")], closing=True) as (port, _):
        result = closed_loop(Plan(port, callbacks, keep_alive=True, seconds=30, connections=2))
    assert (result.accepted, result.reopened, result.broken) == (12, 12, 0)


def test_an_open_loop_notes_when_each_request_was_begun(callbacks: str) -> None:
    with server(lambda _: [answer()]) as (port, _):
        plan = Plan(port, callbacks, keep_alive=False, rate_per_s=2_000, first=2, count=8)
        result = open_loop(plan)
    assert (result.accepted, result.broken) == (8, 0)
    assert result.sent_at == sorted(result.sent_at)
    assert len(result.sent_at) == 8
