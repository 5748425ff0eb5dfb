"""Runs ops under gunicorn: one process, many threads, because waiting clients wait in threads.

The event loop in front of them reads each request whole, as in the web process: slow senders hold up no other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from deedbox.ops.alerts import watch
from deedbox.ops.web import beside
from deedbox.ops.web.api.waiting import LIFETIME
from deedbox.ops.web.api.watcher import Lifetime
from deedbox.ops.web.app import FORM_MAX_BYTES, create_app
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime import logs, ports, serving
from deedbox.shared.runtime.front import Front
from deedbox.shared.settings import Settings

THREADS: Final = 96
"""Idle threads cost some kilobytes. Long polls and event streams are bounded well below this number."""


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings."""
    return {
        **serving.options(settings.ops_bind, settings.ops_port, "deedbox-ops"),
        "workers": 1,
        "graceful_timeout": 5,
        "post_worker_init": _tell_when_it_ends,
    }


def _tell_when_it_ends(worker: Any) -> None:
    """Let clients that wait be answered when the worker is told to stop, within the graceful timeout."""
    lifetime: Lifetime = worker.asgi.extensions[LIFETIME]
    lifetime.over = lambda: not worker.alive


def main(environ: Mapping[str, str]) -> int:
    """Serve until stopped. Returns an exit code: 0 stopped, 1 cannot listen, 2 settings."""
    try:
        settings = Settings.load(environ)
        logs.configure(settings.log_format, "ops")
        create_app(settings)  # settings that do not fit are one sentence here, not a restart loop of workers
        watch.demand(settings)
    except SettingsError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        return 2
    trouble = ports.port_trouble(settings.ops_bind, settings.ops_port, names=("OPS_PORT", "DEEDBOX_OPS_BIND"))
    if trouble is not None:
        sys.stderr.write(f"deedbox: {trouble}\n")
        return 1
    serving.Server(options(settings), lambda: _served(settings)).run()
    return 0


def _served(settings: Settings) -> Front:
    """Build the application of a gunicorn worker, with what runs beside it: threads do not survive a fork."""
    app = create_app(settings)
    beside.start(settings)
    return Front(app, THREADS, FORM_MAX_BYTES)
