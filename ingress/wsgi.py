"""The web process's application under a server of your own.

``server`` is for gunicorn: ``gunicorn -c deploy/gunicorn.conf.py deedbox.ingress.wsgi:server``. ``app`` is a plain WSGI
application for any other server, which then has to bound slow senders itself. Each is built when it is first asked for,
not on import: importing a module must not need settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from deedbox.ingress.app import create_app
from deedbox.ingress.server import application
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings

_BUILDERS: dict[str, Callable[[Settings], Any]] = {"app": create_app, "server": application}


def __getattr__(name: str) -> Any:
    if name not in _BUILDERS:
        raise AttributeError(name)
    settings = Settings.load(os.environ)
    logs.configure(settings.log_format, "web")
    found = globals()[name] = _BUILDERS[name](settings)
    return found
