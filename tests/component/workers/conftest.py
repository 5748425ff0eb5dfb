from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.component.workers.fleet import Fleet
from tests.component.workers.server import RedisServer


@pytest.fixture
def fleet(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Fleet]:
    """Lend real processes on the shared server, emptied."""
    assert state.dbsize() == 0
    processes = Fleet(redis_server, tmp_path)
    yield processes
    processes.close()
