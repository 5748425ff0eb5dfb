"""Runs ingress under gunicorn: threads, because a thread may wait a second for the broker and others go on."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from ingress.app import EXTENSION, create_app
from ingress.handover import Handover
from shared import logs, topology
from shared.child import end_with
from shared.connections import broker_url
from shared.core.errors import SettingsError
from shared.settings import Settings

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


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings; ``deploy/gunicorn.conf.py`` uses the same."""
    host = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
    found: dict[str, Any] = {
        "bind": [f"{host}:{settings.port}"],
        "worker_class": "gthread",
        "workers": settings.web_workers,
        "threads": settings.web_threads,
        "backlog": 2048,
        "timeout": 30,
        # The slowest publish takes 2 s, and so does the last look at the spool.
        "graceful_timeout": 10,
        # Longer than a proxy keeps its connections, or the proxy reuses one that we are closing.
        "keepalive": 75,
        "max_requests": 50_000,
        "max_requests_jitter": 5_000,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "accesslog": None,
        "errorlog": "-",
        "logger_class": QuietLogger,
        "proc_name": "deedbox-web",
        # One path per user by default: a second gunicorn would take it over.
        "control_socket_disable": True,
        "when_ready": _when_ready,
        "post_fork": _end_with_master,
        "post_worker_init": _start_handover,
        "worker_exit": _close_handover,
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


def _start_handover(worker: Any) -> None:
    """Empty the spool from the start: what was left behind must not wait for the first callback."""
    handover = _handover(worker)
    if handover is not None:
        handover.start()


def _close_handover(_server: Any, worker: Any) -> None:
    handover = _handover(worker)
    if handover is not None:
        handover.close()


def _handover(worker: Any) -> Handover | None:
    """Return the worker's; None if it failed to boot, or serves an application that only contains ours."""
    found = getattr(getattr(worker, "wsgi", None), "extensions", {}).get(EXTENSION)
    return found if isinstance(found, Handover) else None


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from our settings; each worker builds its own application after the fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(self._settings)


def port_trouble(settings: Settings) -> str | None:
    """Return why nothing can listen on bind and port, in one sentence, or None.

    gunicorn itself would try for 5 s and fill the terminal. After USR2 or under systemd the socket is inherited.
    """
    if "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ:
        return None
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.bind, settings.port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {settings.port} is taken by another process; stop it or set PORT to a free one."
            if error.errno == errno.EACCES:
                return (
                    f"port {settings.port} needs more rights than this user has; set PORT to one above 1023."
                )
            return f"nothing can listen on {settings.bind} ({error.strerror}); correct DEEDBOX_BIND."
    return None


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings and everything the web process needs of them. Raises SettingsError."""
    settings = Settings.load(environ)
    settings.sources()
    topology.transport(broker_url(settings))
    return settings


def gunicorn_conf(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of a gunicorn configuration file. Ends the process with code 2 for wrong settings."""
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        sys.exit(2)
    logs.configure(settings.log_format, "web")
    return options(settings)


def main(environ: Mapping[str, str]) -> int:
    """Serve until stopped. Returns an exit code: 0 stopped, 1 cannot listen, 2 settings."""
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        return 2
    logs.configure(settings.log_format, "web")
    trouble = port_trouble(settings)
    if trouble is not None:
        sys.stderr.write(f"deedbox: {trouble}\n")
        return 1
    _Server(settings).run()
    return 0
