"""What component tests share: a Redis server, and an operator at a terminal who runs commands against it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis import Redis
from typer.testing import CliRunner

from deedbox.ops import cli
from deedbox.shared.core.errors import DeedboxError, SettingsError
from tests.component.workers.rig import Deployment, Journal, action
from tests.component.workers.server import RedisServer, server_binary


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Let loggers write from WARNING on: ten thousand lines that nobody reads take seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Lend one server to all tests; each gets it empty through ``state``."""
    server = RedisServer(server_binary(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def state(redis_server: RedisServer) -> Iterator[Redis]:
    """Lend a client of the emptied server."""
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def journal() -> Journal:
    """Return an action that remembers its calls."""
    return Journal()


@pytest.fixture
def deployment(state: Redis, journal: Journal) -> Deployment:
    """Return a deployment with that action alone."""
    return Deployment(state, action(journal))


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[RedisServer]:
    """Lend a server of its own, for tests that kill it."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(server_binary(), folder)
    server.start()
    yield server
    server.stop()


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    out: str
    code: int
    sentence: str
    """What ``main`` writes to stderr."""
    logged: str = ""
    """What the command itself wrote to stderr."""

    @property
    def document(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


Operate = Callable[..., Answer]


@pytest.fixture
def operate(
    state: Redis, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Operate:
    """Return a function that runs ``deedbox ARGUMENTS`` with these variables on top of the usual ones."""
    del state  # emptied
    for name in [name for name in os.environ if name.startswith("DEEDBOX_")]:
        monkeypatch.delenv(name)
    usual = {
        "DEEDBOX_REDIS_URL": redis_server.url,
        "DEEDBOX_API_KEYS": "k" * 64,
        "DEEDBOX_DATA_DIR": str(tmp_path),
    }

    def run(*arguments: str, **env: str) -> Answer:
        done = CliRunner().invoke(cli.app, arguments, env=usual | env)
        # A command that logs has configured the process for its own stderr, which is closed by now.
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
        error = done.exception
        if isinstance(error, DeedboxError):
            sentence = cli.explained(error, os.environ | usual | env)
            return Answer(done.stdout, 2 if isinstance(error, SettingsError) else 1, sentence, done.stderr)
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return Answer(done.stdout, done.exit_code, "", done.stderr)

    return run
