"""One deployment per test, and what is needed for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.deployment import PASSWORD, Deployment
from tests.hosts.network import demand_namespaces


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Return an empty network; the test adds the hosts."""
    demand_namespaces()
    made = Deployment(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def on_redis(deployment: Deployment) -> Deployment:
    """Return a deployment with one Redis for everything."""
    host = deployment.redis("state")
    deployment.settings(DEEDBOX_REDIS_URL=f"redis://:{PASSWORD}@{host.address}:6379/0")
    return deployment


@pytest.fixture
def on_rabbitmq(on_redis: Deployment) -> Deployment:
    """Return a deployment with RabbitMQ as the broker."""
    _host, server = on_redis.rabbitmq("mq")
    on_redis.settings(DEEDBOX_BROKER_URL=server.url)
    return on_redis
