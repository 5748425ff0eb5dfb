"""A Flask app on its own port, in a thread: the simulator's server for development and tests."""

from __future__ import annotations

import threading

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _SilentHandler(WSGIRequestHandler):
    """Logs nothing: request lines hold ids, and the demo's terminal belongs to the demo."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Drop the line."""


class LoopbackServer:
    """Serves one app. ``start`` and ``stop`` are each called once, from one thread."""

    def __init__(self, app: Flask, host: str = "127.0.0.1") -> None:
        self._app = app
        self._host = host
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL without a path, once started."""
        if self._server is None:
            raise RuntimeError("the server was not started")
        return f"http://{self._host}:{self._server.port}"

    def start(self, port: int = 0) -> None:
        """Listen (0: a free port) and serve. When it returns, connections are accepted. Raises OSError."""
        handler = type("_Handler", (_SilentHandler,), {"protocol_version": "HTTP/1.1"})
        self._server = make_server(self._host, port, self._app, threaded=True, request_handler=handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="loopback", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. Harmless if never started."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None
