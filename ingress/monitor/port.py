"""Ingress's metrics on a port of their own, never on the public one.

The master opens the port before it forks, so that it outlives every worker; a thread in each worker answers, from the
files of all. Nothing of it is on the way of a callback: without its port, ingress says so in the log and serves on.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from deedbox.ingress.monitor.files import MetricsFiles
from deedbox.ingress.publish.background import Expose
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings

PATH: Final = "/metrics"
SLOW_S: Final = 5.0
"""A client that is silent for longer is let go: the thread serves one at a time."""

LOOKS: Final = 4
LOOK_AGAIN_S: Final = 0.05
"""A worker that starts makes its files empty and fills them a moment later: a reader in between finds no file header."""

_log = logs.get("metrics")


class _Handler(WSGIRequestHandler):
    timeout = SLOW_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Say nothing: scrapes are no news."""


class MetricsPort:
    """The port of one gunicorn master."""

    def __init__(self, bind: str, port: int, data_dir: Path) -> None:
        self._address = (bind, port)
        self._files = MetricsFiles(data_dir / "metrics" / str(port))
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Open the port and empty the files, in the master, before it forks."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(self._address)
            found.listen()
            self._files.start_anew()
        except OSError as error:
            found.close()
            _log.error("metrics.not_served", port=self._address[1], cause=error.strerror)
            return
        self._socket = found
        _log.info("metrics.listening", address="{}:{}".format(*found.getsockname()[:2]))

    def serve(self, sources: Iterable[str]) -> Expose | None:
        """Answer from a thread of this worker. Returns what keeps its figures up to date; None without a port."""
        if self._socket is None:
            return None
        from deedbox.ingress.monitor.prometheus import Exposition

        exposition = Exposition(tuple(sources))
        host, port = self._socket.getsockname()[:2]
        server = WSGIServer((host, port), _Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self._socket
        # What the library's server_bind would set; it would also look the name up.
        server.server_name, server.server_port = host, port
        server.setup_environ()
        server.set_app(_application(self._files))
        threading.Thread(target=server.serve_forever, name="deedbox-metrics", daemon=True).start()
        return exposition.update

    def worker_ended(self, pid: int) -> None:
        """Keep a dead worker's counts without its files; for the master."""
        if self._socket is not None:
            self._files.bury(pid)


def of(settings: Settings) -> MetricsPort | None:
    """Return the port of these settings, the same one at each call: a reload of gunicorn reads its settings again."""
    if settings.metrics_port is None:
        return None
    return _port(settings.metrics_bind, settings.metrics_port, settings.data_dir)


@cache
def _port(bind: str, port: int, data_dir: Path) -> MetricsPort:
    return MetricsPort(bind, port, data_dir.absolute())


def _application(files: MetricsFiles) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [f"the metrics are at {PATH}\n".encode()]
        for _ in range(LOOKS):
            with files.reading(), suppress(struct.error, ValueError, OSError):
                # Read to its end before the files are let go. Nothing was answered yet if this fails.
                return list(metrics(environ, start))
            time.sleep(LOOK_AGAIN_S)
        start("503 Service Unavailable", [("Content-Type", "text/plain"), ("Retry-After", "1")])
        return [b"the counts of a process that is starting or ending could not be read; ask again\n"]

    return answer
