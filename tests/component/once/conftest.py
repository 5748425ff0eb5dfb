from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Lend one server to all tests."""
    folder, driver = programs(), find_spec("psycopg")
    if folder is None or driver is None:
        said = "Debian's postgresql and psycopg are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    server = PostgresServer(folder)
    yield server
    server.stop()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Name a new database file."""
    return f"sqlite:///{tmp_path / 'x.sqlite'}"
