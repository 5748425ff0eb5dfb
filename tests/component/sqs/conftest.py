"""A real SQS API on a private port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deedbox.shared.broker.port import Broker
from tests.support.brokers import broker_at
from tests.support.sqs import SqsServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    found = SqsServer(tmp_path_factory.mktemp("sqs"))
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.fixture
def sqs(server: SqsServer) -> SqsServer:
    """Lend the server without queues."""
    server.empty()
    return server


@pytest.fixture
def publisher(sqs: SqsServer) -> Iterator[Broker]:
    found = broker_at(sqs.url(), limit=4)
    yield found
    found.close()
