"""Runs ingress under gunicorn: threads, because a thread may wait a second for the broker and others go on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ingress.app import EXTENSION, create_app
from ingress.handover import Handover
from shared import logs, ports, serving, topology
from shared.connections import broker_url
from shared.core.errors import SettingsError
from shared.settings import Settings


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings; ``deploy/gunicorn.conf.py`` uses the same."""
    return {
        **serving.options(settings.bind, settings.port, "deedbox-web"),
        "workers": settings.web_workers,
        "threads": settings.web_threads,
        # The slowest publish takes 2 s, and so does the last look at the spool.
        "graceful_timeout": 10,
        "max_requests": 50_000,
        "max_requests_jitter": 5_000,
        "post_worker_init": _start_handover,
        "worker_exit": _close_handover,
    }


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
    trouble = ports.port_trouble(settings.bind, settings.port)
    if trouble is not None:
        sys.stderr.write(f"deedbox: {trouble}\n")
        return 1
    serving.Server(options(settings), lambda: create_app(settings)).run()
    return 0
