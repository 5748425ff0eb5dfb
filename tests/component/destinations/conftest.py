"""A receiver of webhooks that can be away, and a deployment before it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass(frozen=True)
class Post:
    """One message as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Webhooks:
    """Takes messages and remembers them. ``answer`` decides each answer: status and headers."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        """All that came."""
        self.taken: list[Post] = []
        """Those that were answered with 2xx."""
        self.answer: Callable[[Post], tuple[int, dict[str, str]]] = lambda _post: (204, {})
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                post = Post(self.path, dict(self.headers.items()), self.rfile.read(length))
                hooks.posts.append(post)
                status, headers = hooks.answer(post)
                if 200 <= status < 300:
                    hooks.taken.append(post)
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=t0ken"

    def types(self, request_id: str = "r1") -> list[str]:
        """Return the types of what was taken of one request, without their prefix."""
        taken = [each.message for each in self.taken]
        mine = [each for each in taken if each["data"]["signature_request_id"] == request_id]
        return [each["type"].removeprefix("signature_request_") for each in mine]


@contextmanager
def webhooks() -> Iterator[Webhooks]:
    """Lend a receiver that listens."""
    made = Webhooks()
    serving = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        serving.join()
        made.server.server_close()


@pytest.fixture
def hooks() -> Iterator[Webhooks]:
    """Lend a receiver that listens."""
    with webhooks() as made:
        yield made
