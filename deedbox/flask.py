"""The receiver in a Flask application: ``app.register_blueprint(deedbox.flask.blueprint())``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Blueprint

    from deedbox.ingress.publish.background import Link
    from deedbox.shared.settings import Settings


def blueprint(
    settings: Settings | None = None, broker: Link | None = None, *, health: bool = False
) -> Blueprint:
    """Return the routes ``/callbacks`` and ``/callbacks/<source>``.

    A callback is verified, made durable and acknowledged, as in Deedbox's own web process. Settings come from the
    environment unless they are given. ``health`` adds ``/healthz`` and ``/readyz``. Opens no connection. Raises
    SettingsError.
    """
    from deedbox.ingress.app import create_blueprint
    from deedbox.ingress.mount import broker_of
    from deedbox.shared.settings import Settings as _Settings

    given = settings or _Settings.load(os.environ)
    sources = given.sources()
    return create_blueprint(given, broker or broker_of(given), sources, health=health)
