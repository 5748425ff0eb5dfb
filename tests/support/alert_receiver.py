"""A receiver of alerts on the loopback address: Apprise's ``json://`` posts to it, and it can be away or silent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class AlertReceiver:
    """Remembers what it took."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.asked = 0
        """Posts that came, whatever became of them."""
        self.refused = 0
        self.away = False
        self._silence = threading.Event()
        self._silence.set()
        self._silent = False
        self._keep = True
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.asked += 1
                kept = not receiver._silent
                receiver._silence.wait()  # until it is told otherwise, however long its client takes
                if not (kept or receiver._keep):
                    return
                if receiver.away:
                    receiver.refused += 1
                else:
                    receiver.taken.append(json.loads(body))
                self.send_response(503 if receiver.away else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """Apprise URL, with a secret in it."""
        return f"json://user:s3cret@127.0.0.1:{self._server.server_port}/hook"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.taken]

    def be_silent(self) -> None:
        """Take connections and answer nothing."""
        self._silent = True
        self._silence.clear()

    def answer_again(self, *, keep: bool = True) -> None:
        """Answer from now on; with ``keep`` also what came meanwhile."""
        self._keep = keep
        self._silent = False
        self._silence.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._silence.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
