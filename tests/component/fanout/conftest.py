"""A broker of events that can be killed: RabbitMQ and Redis, beside the Redis of the state."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.component.fanout.receiver import Receiver
from tests.component.workers.server import RedisServer, running_rabbitmq, server_binary


class Broker(Protocol):
    """A broker process."""

    url: str

    def kill(self) -> None: ...
    def start(self) -> None: ...


class _Rabbit:
    def __init__(self, server: Any) -> None:
        self.url: str = server.url
        self._server = server

    def kill(self) -> None:
        self._server.end(signal.SIGKILL)

    def start(self) -> None:
        self._server.start()


@contextmanager
def _running(kind: str, folder: Path) -> Iterator[Broker]:
    if kind == "rabbitmq":
        with running_rabbitmq(folder) as server:
            yield _Rabbit(server)
        return
    redis = RedisServer(server_binary(), folder)
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture(
    scope="session",
    params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)],
)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with _running(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def receiver(broker: Broker) -> Iterator[Receiver]:
    """Lend a queue of this test's own, bound to everything."""
    bound = Receiver(broker.url)
    yield bound
    bound.close()
