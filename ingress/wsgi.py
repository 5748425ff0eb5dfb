"""``gunicorn -c deploy/gunicorn.conf.py deedbox.ingress.wsgi:app``: the application under a server of your own.

``app`` is built when it is first asked for, not on import: importing a module must not need settings.
"""

from __future__ import annotations

import os

from flask import Flask

from deedbox.ingress.app import create_app
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings


def build() -> Flask:
    """Build the application from the environment. Raises SettingsError."""
    settings = Settings.load(os.environ)
    logs.configure(settings.log_format, "web")
    return create_app(settings)


def __getattr__(name: str) -> Flask:
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = build()
    return app
