"""Which master a client takes where the sentinels name different ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from redis.sentinel import MasterNotFoundError

from deedbox.shared.redis import connections
from deedbox.shared.redis.address import parse
from tests.component.sentinel.cluster import MASTER, Cluster

pytestmark = pytest.mark.real_redis

ELECTION = f"sentinel config-epoch {MASTER} 5\n"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Cluster]:
    """Two masters: one sentinel knows the old one only, as after a partition, two know the elected one."""
    cluster = Cluster(tmp_path, replicas=1)
    try:
        for server in cluster.servers:
            server.start()
        old, elected = cluster.servers
        cluster.watch_apart([(old, ""), (elected, ELECTION), (elected, ELECTION)])
        yield cluster
    finally:
        cluster.close()


def test_the_master_of_the_latest_election_is_taken_whichever_sentinel_is_asked_first(apart: Cluster) -> None:
    for nodes in permutations(f"127.0.0.1:{sentinel.port}" for sentinel in apart.sentinels):
        url = apart.url.replace(apart.url.partition("@")[2].partition("/")[0], ",".join(nodes))
        with connections.brisk_redis(parse(url)) as client:
            assert client.info("server")["tcp_port"] == apart.servers[1].port


def test_a_sentinel_of_before_the_election_is_not_asked_while_the_elected_master_is_away(
    apart: Cluster,
) -> None:
    apart.servers[1].kill()
    apart.until_noticed(by=1)
    apart.until_noticed(by=2)
    with (
        connections.brisk_redis(parse(apart.url)) as client,
        pytest.raises(MasterNotFoundError, match="name no running master"),
    ):
        client.ping()
