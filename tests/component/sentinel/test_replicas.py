"""DEEDBOX_REDIS_WAIT_REPLICAS: what too few replicas have counts as not durable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

from deedbox.ingress.publish.handover import Handover, Stored
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge
from deedbox.ops.checks import run
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.redis import connections, keys
from deedbox.shared.redis.address import parse
from deedbox.shared.redis.replicas import ReplicatedScripts
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.settings import Settings
from tests.component.sentinel.cluster import PASSWORD, SENTINEL_PASSWORD, Cluster
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import envelope, message, sent
from tests.component.workers.server import RedisServer, until
from tests.support.brokers import Claims, bridging, broker_at
from tests.support.memory_broker import MemoryBroker

pytestmark = pytest.mark.real_redis


@pytest.fixture
def publisher(cluster: Cluster) -> Iterator[Broker]:
    found = broker_at(cluster.url, 8, wait_replicas=1)
    yield found
    found.close()


def bodies(state: Redis) -> set[bytes]:
    messages = cast("list[bytes]", state.lrange(keys.RAW_QUEUE, 0, -1))
    return {decode_kombu(each)[1] for each in messages}


def inbox_length(state: Redis) -> int:
    return sum(state.llen(key) for key in state.scan_iter(keys.PREFIX + "inbox:*"))


def test_what_is_published_is_on_the_replica_at_once(cluster: Cluster, publisher: Broker) -> None:
    with cluster.replica().client() as replica:
        for number in range(1, 20):
            publisher.publish(envelope(sent(number)))
            assert replica.llen(keys.RAW_QUEUE) == number
        publisher.publish_many([envelope(sent(number)) for number in range(300)])
        assert replica.llen(keys.RAW_QUEUE) == 319


def test_the_wait_is_asked_on_the_connection_that_wrote(state: Redis, publisher: Broker) -> None:
    publisher.publish(envelope(sent()))
    with state.monitor() as monitor:  # type: ignore[no-untyped-call]
        publisher.publish(envelope(sent()))
        seen: dict[str, str] = {}
        for line in monitor.listen():
            seen[line["command"].split()[0]] = line["client_port"]
            if "WAIT" in seen:
                break
    assert seen["LPUSH"] == seen["WAIT"]


def test_a_publish_that_no_replica_confirms_is_unavailable_and_heals(
    cluster: Cluster, publisher: Broker
) -> None:
    publisher.publish(envelope(sent()))
    with cluster.replica().frozen():
        for attempt in (publisher.publish, lambda each: publisher.publish_many([each])):
            with pytest.raises(Unavailable, match="0 of 1 replicas confirmed"):
                attempt(envelope(sent()))
        with pytest.raises(Unavailable, match="0 of 1 replicas confirmed"):
            publisher.ping()
    publisher.publish(envelope(sent()))
    publisher.ping()


def test_without_sentinels_a_connected_publisher_goes_on_and_a_new_one_says_so(
    cluster: Cluster, publisher: Broker
) -> None:
    publisher.publish(envelope(sent()))
    new = broker_at(cluster.url, wait_replicas=1)
    with ExitStack() as stack:
        for sentinel in cluster.sentinels:
            stack.enter_context(sentinel.frozen())
        publisher.publish(envelope(sent()))
        for attempt in (new.ping, lambda: new.publish(envelope(sent()))):
            with pytest.raises(Unavailable, match="MasterNotFoundError"):
                attempt()
    until(lambda: cluster.master, "the sentinels answer")
    new.publish(envelope(sent()))
    new.close()


def test_what_no_replica_confirms_goes_to_the_spool_and_drains_later(
    cluster: Cluster, state: Redis, settings: Settings, publisher: Broker
) -> None:
    handover = Handover(settings, publisher)
    gauge = Gauge(SpoolDir(settings.data_dir))
    stored = [envelope(sent(0, f"r{number}")) for number in range(30)]
    with cluster.replica().frozen():
        answers = [handover.store(each) for each in stored]
        assert {answer.spooled for answer in answers} == {True}
        assert gauge.usage().callbacks == 30
    until(lambda: gauge.usage().callbacks == 0, "the spool is empty")
    assert bodies(state) == {each.body for each in stored}
    assert handover.store(envelope(sent())) == Stored(spooled=False)
    handover.close()


def test_a_bridge_keeps_what_it_claimed_until_the_replica_has_it(
    cluster: Cluster, state: Redis, fragile: RedisServer
) -> None:
    with fragile.client() as other, connections.patient_redis(parse(cluster.url)) as waiting:
        bridge = Claims(ReplicatedScripts(waiting, 1), Scripts(other), "b")
        other.lpush(keys.RAW_QUEUE, message(sent()))
        bridge.mover._beat_at = float("inf")  # it has just asked, and the replica was there
        with cluster.replica().frozen():
            for _ in range(3):
                with pytest.raises(Unavailable):
                    bridge.once()
            assert inbox_length(state) == 1, "what was written is confirmed, not written again"
            assert other.llen(keys.claimed("b")) == 1
        assert bridge.once() == 1
        assert other.llen(keys.claimed("b")) == 0


def test_a_bridge_process_acks_another_redis_only_once_the_replica_has_it(
    cluster: Cluster, state: Redis, fragile: RedisServer, tmp_path: Path
) -> None:
    fleet = Fleet(cluster, tmp_path, DEEDBOX_REDIS_WAIT_REPLICAS="1", DEEDBOX_BROKER_URL=fragile.url)

    def unacked() -> int:
        names = list(other.scan_iter(keys.claimed("*")))
        return int(sum(other.llen(name) for name in names) + other.llen(keys.RAW_QUEUE))

    try:
        with fragile.client() as other:
            fleet.start("bridge")
            other.lpush(keys.RAW_QUEUE, message(sent(0, "before")))
            until(lambda: unacked() == 0, "the bridge runs")
            with cluster.replica().frozen():
                other.lpush(keys.RAW_QUEUE, message(sent(0, "r1")))
                until(lambda: inbox_length(state) == 2, "the bridge wrote it")
                time.sleep(4)
                assert (unacked(), inbox_length(state)) == (1, 2)
            until(lambda: unacked() == 0, "the bridge acked")
    finally:
        fleet.close()


def test_a_bridge_takes_nothing_from_another_broker_while_replicas_are_behind(
    cluster: Cluster, state: Redis
) -> None:
    broker = MemoryBroker()
    broker.publish(envelope(sent()))
    with connections.brisk_redis(parse(cluster.url)) as waiting:
        with cluster.replica().frozen():
            state.set("written", "while the replica is frozen")
            with bridging(broker, ReplicatedScripts(waiting, 1)) as opened:
                time.sleep(3)
                assert opened == []
        assert broker.look().depth == 1


def checks(settings: Settings, wait: str) -> dict[str, Any]:
    environ = {
        "DEEDBOX_REDIS_URL": settings.redis_url.get_secret_value() if settings.redis_url else "",
        "DEEDBOX_REDIS_WAIT_REPLICAS": wait,
        "DEEDBOX_API_KEYS": "key",
        "DEEDBOX_DATA_DIR": str(settings.data_dir),
    }
    rows = [finding.document() for finding in run(environ, offline=True)]
    assert PASSWORD not in json.dumps(rows)
    assert SENTINEL_PASSWORD not in json.dumps(rows)
    return {row["name"]: row["verdict"] for row in rows}


def test_check_tells_what_a_failover_loses(settings: Settings) -> None:
    found = {wait: checks(settings, wait) for wait in "012"}
    assert [rows["redis replication"] for rows in found.values()] == ["warning", "ok", "failed"]
    assert {(rows["redis"], rows["redis sentinels"]) for rows in found.values()} == {("ok", "ok")}


def test_a_wrong_word_for_the_sentinels_is_told_without_showing_it(cluster: Cluster) -> None:
    url = cluster.url.replace("other%40word", "wrong%40word")

    with pytest.raises(SettingsError, match="sentinel_password") as error:
        connections.demand(connections.brisk_redis(parse(url)))

    assert "wrong@word" not in str(error.value)
    assert PASSWORD not in str(error.value)
