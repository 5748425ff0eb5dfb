"""A real RabbitMQ on private ports, with a node name, a data directory and a name server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deedbox.ingress.publish.publisher import Publisher
from deedbox.shared.broker import topology
from tests.component.workers.conftest import fragile, redis_server, state
from tests.component.workers.server import running_rabbitmq

__all__ = ["fragile", "redis_server", "state"]


@pytest.fixture(scope="session")
def amqp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server.url


@pytest.fixture
def queue(amqp_url: str) -> Iterator[Any]:
    """Lend the raw queue, empty, for a look at its depth."""
    with topology.connect(amqp_url) as connection:
        topology.declare(connection)
        bound = topology.raw_queue("amqp")(connection.default_channel)
        bound.purge()
        yield bound


@pytest.fixture
def publish(amqp_url: str, queue: Any) -> Iterator[Callable[..., None]]:  # noqa: ARG001 - emptied first
    """Publish as ingress does."""
    publisher = Publisher(amqp_url, limit=2)
    yield publisher.publish
    publisher.close()
