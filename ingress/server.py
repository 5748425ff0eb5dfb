"""Runs ingress under gunicorn: an event loop reads the requests and waits for the broker, threads run Flask."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from flask import Flask

from deedbox.ingress.app import EXTENSION, create_app
from deedbox.ingress.monitor import port
from deedbox.ingress.monitor.port import MetricsPort
from deedbox.ingress.publish.handover import Handover
from deedbox.ingress.receive.receiver import LARGE_BYTES
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.shared.broker import brokers
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime import logs, ports, serving
from deedbox.shared.runtime.front import Front
from deedbox.shared.runtime.wsgi_call import Scope, path_of
from deedbox.shared.settings import Settings


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings; ``deploy/gunicorn.conf.py`` uses the same."""
    metrics = port.of(settings)
    return {
        **serving.options(settings.bind, settings.port, "deedbox-web"),
        "workers": settings.web_workers,
        # The slowest publish takes 2 s, and so does the last look at the spool.
        "graceful_timeout": 10,
        "max_requests": 50_000,
        "max_requests_jitter": 5_000,
        "post_worker_init": lambda worker: _start_handover(worker, metrics, settings),
        "worker_exit": _close_handover,
        **(_metrics_hooks(metrics) if metrics is not None else {}),
    }


def _metrics_hooks(metrics: MetricsPort) -> dict[str, Any]:
    return {
        "on_starting": lambda _arbiter: metrics.open(),
        "child_exit": lambda _arbiter, worker: metrics.worker_ended(worker.pid),
    }


def _start_handover(worker: Any, metrics: MetricsPort | None, settings: Settings) -> None:
    """Empty the spool from the start: what was left behind must not wait for the first callback."""
    handover = _handover(worker)
    if handover is None:
        return
    expose = metrics.serve(settings.sources()) if metrics is not None else None
    if expose is not None:
        handover.expose(expose)
    handover.publish_in(worker.loop)
    handover.start()


def _close_handover(_server: Any, worker: Any) -> None:
    handover = _handover(worker)
    if handover is not None:
        handover.close()


def _handover(worker: Any) -> Handover | None:
    """Return the worker's; None if it failed to boot, or serves an application that only contains ours."""
    found = getattr(getattr(worker, "asgi", None), "extensions", {}).get(EXTENSION)
    return found if isinstance(found, Handover) else None


def metrics_trouble(settings: Settings) -> str | None:
    """Return why the metrics port cannot be had, in one sentence, or None."""
    if settings.metrics_port is None:
        return None
    names = ("DEEDBOX_METRICS_PORT", "DEEDBOX_METRICS_BIND")
    return ports.port_trouble(settings.metrics_bind, settings.metrics_port, names=names)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings and everything the web process needs of them. Raises SettingsError."""
    settings = Settings.load(environ)
    settings.sources()
    SpoolDir(settings.data_dir).demand_readable()
    brokers.open_broker(brokers.broker_address(settings)).demand()
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
    trouble = ports.port_trouble(settings.bind, settings.port) or metrics_trouble(settings)
    if trouble is not None:
        sys.stderr.write(f"deedbox: {trouble}\n")
        return 1
    serving.Server(options(settings), lambda: application(settings)).run()
    return 0


def application(settings: Settings) -> Front:
    """Return what gunicorn serves. Raises SettingsError."""
    return served_by_loop(create_app(settings), settings)


def served_by_loop(app: Flask, settings: Settings) -> Front:
    """Return the Flask application of ingress behind an event loop."""
    return Front(app, settings.web_threads, settings.body_max_bytes, _is_quick)


def _is_quick(scope: Scope, body: bytes) -> bool:
    """Tell whether a request costs so little that handing it to a thread would cost more: a callback of usual size."""
    return len(body) <= LARGE_BYTES and path_of(scope).startswith("/callbacks")
