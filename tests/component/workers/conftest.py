from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from redis import Redis

from tests.component.workers.fleet import Fleet
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
def fleet(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Fleet]:
    """Lend real processes on the shared server, emptied."""
    assert state.dbsize() == 0
    processes = Fleet(redis_server, tmp_path)
    yield processes
    processes.close()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[RedisServer]:
    """Lend a server of its own, for tests that kill it."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(server_binary(), folder)
    server.start()
    yield server
    server.stop()
