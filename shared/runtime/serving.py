"""What every gunicorn of ours has in common: quiet logs, short waits, workers that end with their master."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from deedbox.shared.runtime import logs
from deedbox.shared.runtime.child import end_with

_SHM: Final = Path("/dev/shm")  # noqa: S108 - the heartbeat files of workers; gunicorn names and guards them

_log = logs.get("server")


class QuietLogger(Logger):  # type: ignore[misc]
    """gunicorn's log lines through ours, from warnings on, and without what a request said.

    gunicorn quotes request lines and headers that it refuses; they are anybody's text, tokens included.
    """

    def setup(self, cfg: Any) -> None:
        """Leave the handlers to the root logger."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)

    def warning(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log a warning; of a refused request only that there was one."""
        if msg.startswith("Invalid request"):
            msg, args = "a request that is no HTTP was refused", ()
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log an exception without the request's method and path, which gunicorn adds."""
        text = "a request could not be handled" if str(msg).startswith("Error handling request") else str(msg)
        super().exception(text if not args or text != str(msg) else text % args, **kwargs)


def options(bind: str, port: int, name: str) -> dict[str, Any]:
    """Return the settings of gunicorn that do not depend on what is served."""
    host = f"[{bind}]" if ":" in bind else bind
    found: dict[str, Any] = {
        "bind": [f"{host}:{port}"],
        "worker_class": "deedbox.shared.runtime.asgi_worker.BoundedWorker",
        "worker_connections": 900,  # below the 1,024 files that a process may usually have open
        "asgi_lifespan": "on",
        "backlog": 2048,
        "timeout": 30,
        # Longer than a proxy keeps its connections, or the proxy reuses one that we are closing.
        "keepalive": 75,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "accesslog": None,
        "errorlog": "-",
        "logger_class": QuietLogger,
        "proc_name": name,
        # One path per user by default: a second gunicorn would take it over.
        "control_socket_disable": True,
        "when_ready": _when_ready,
        "post_fork": _end_with_master,
    }
    if _SHM.is_dir():
        # A heartbeat file on a disk that stalls would have the worker killed.
        found["worker_tmp_dir"] = str(_SHM)
    return found


def _when_ready(arbiter: Any) -> None:
    _log.info("server.listening", addresses=[str(listener) for listener in arbiter.LISTENERS])


def _end_with_master(arbiter: Any, _worker: Any) -> None:
    """Let a worker whose master was killed close its port at once: the next master needs it."""
    end_with(arbiter.pid)


class _Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, without what only a master that is its own supervisor may do."""

    def handle_usr2(self) -> None:
        """Refuse to start a second master: what supervises this one would neither know nor end it."""
        self.log.warning("SIGUSR2 is ignored; to run another version, start this program again")


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from a dict; each worker builds its own application after the fork."""

    def __init__(self, settings: Mapping[str, Any], build: Callable[[], Any]) -> None:
        self._settings = settings
        self._build = build
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._build()

    def run(self) -> None:
        """Serve until stopped."""
        _Master(self).run()
