"""A real RabbitMQ on private ports, with a node name, a data directory and a name server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deedbox.shared.broker import amqp_broker
from tests.component.workers.server import running_rabbitmq
from tests.support.brokers import broker_at, connect


@pytest.fixture(scope="session")
def amqp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server.url


@pytest.fixture
def queue(amqp_url: str) -> Iterator[Any]:
    """Lend the raw queue, empty, for a look at its depth."""
    with connect(amqp_url) as connection:
        amqp_broker.declare(connection)
        bound = amqp_broker.raw_queue()(connection.default_channel)
        bound.purge()
        yield bound


@pytest.fixture
def publish(amqp_url: str, queue: Any) -> Iterator[Callable[..., None]]:  # noqa: ARG001 - emptied first
    """Publish as ingress does."""
    publisher = broker_at(amqp_url, limit=2)
    yield publisher.publish
    publisher.close()
