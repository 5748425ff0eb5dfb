"""A guarded application, its clock, and a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from deedbox.ops import sessions
from deedbox.ops.sessions import SecretFiles
from deedbox.ops.web.app import create_app
from tests.unit.ops_web.guarded import (
    Clock,
    settings_of,
    with_routes,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Flask:
    return with_routes(create_app(settings_of(tmp_path), clock))


@pytest.fixture
def links(tmp_path: Path, clock: Clock) -> SecretFiles:
    """Make links as `deedbox sign-in` does, in another process."""
    return sessions.links(settings_of(tmp_path), clock)


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()
