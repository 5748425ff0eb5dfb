from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.redis import connections
from deedbox.shared.redis.address import parse
from deedbox.shared.settings import Settings
from tests.component.sentinel.cluster import Cluster


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run one cluster for all tests of a module."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Lend the cluster, whole and empty."""
    running.heal()
    return running


@pytest.fixture
def state(cluster: Cluster) -> Iterator[Redis]:
    """Lend a client of the cluster's master."""
    with connections.brisk_redis(parse(cluster.url)) as client:
        yield client


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path) -> Settings:
    """Return the settings of a deployment that waits for one replica."""
    return Settings.load(
        {
            "DEEDBOX_REDIS_URL": cluster.url,
            "DEEDBOX_REDIS_WAIT_REPLICAS": "1",
            "DEEDBOX_DATA_DIR": str(tmp_path / "var"),
            "DEEDBOX_API_KEYS": "key",
        }
    )
