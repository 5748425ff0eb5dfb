"""Each request has the answer of the table, on the real server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests.component.ingress.conftest import Server
from tests.component.ingress.requests import ACK, CASES, Case
from tests.component.ingress.test_web_process import Web, serving

pytestmark = pytest.mark.real_redis

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def web(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    with serving(redis_broker.url, folder, body_max_bytes=2_000_000) as found:
        yield found


def exchange(port: int, sent: bytes) -> bytes:
    """Send, close our side, and return everything that comes until the server closes its own."""
    with socket.create_connection(("127.0.0.1", port), 20) as link:
        try:
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before it was read
        found = b""
        try:
            while chunk := link.recv(65536):
                found += chunk
        except ConnectionResetError:
            pass
    return found


def answers(received: bytes, *, head_only: bool) -> list[Answer]:
    """Split what came into answers; without interim ones and the date."""
    found: list[Answer] = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        if " 1" in status[:10] and status.split()[1].startswith("1"):
            continue
        headers = dict(line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in headers.items() if name.lower() != "date"}
        length = 0 if head_only else int(headers.get("content-length", len(received)))
        found.append((int(status.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


def said(answer: Answer) -> str:
    """Return the ack, the reason, or nothing for what is not ours."""
    body = answer[2].decode()
    if body == ACK:
        return body
    return str(json.loads(body)["error"]) if body.startswith("{") else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: re.sub(r"\W+", "-", case.name))
def test_a_request_is_answered_as_the_table_says(web: Web, case: Case) -> None:
    found = answers(exchange(web.port, case.sent), head_only=case.sent.startswith(b"HEAD"))
    assert tuple((answer[0], said(answer)) for answer in found) == case.answers


def test_no_request_is_a_bug(web: Web) -> None:
    for case in CASES:
        exchange(web.port, case.sent)
    written = web.log.read_text()
    assert "Traceback" not in written
    assert "request.failed" not in written
    assert "exception" not in written
