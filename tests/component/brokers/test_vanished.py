"""A host that vanishes without a word, seen from its peers: it costs one bounded wait, and holds nothing back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import pytest
from redis import Redis

from deedbox.shared.broker import amqp_broker
from deedbox.shared.broker.amqp_broker import PREFETCH, PUBLISHER_HEARTBEAT_S
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.redis.address import RedisAddress, parse
from deedbox.shared.redis.connections import SOCKET_TIMEOUT_S, keepalive, patient_redis
from tests.component.ingress.conftest import envelope
from tests.component.workers.rig import envelope as callback
from tests.component.workers.rig import sent
from tests.component.workers.server import RedisServer, running_rabbitmq, until
from tests.support.blackhole import Blackhole
from tests.support.brokers import bridging, broker_at, connect, raw_queue_of
from tests.support.rabbitmq import RabbitServer

__all__ = ["envelope"]

COST_S = 10.0
"""What a host that vanishes may cost."""


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def taken(broker: Broker, envelope: Envelope) -> bool:
    try:
        broker.publish(envelope)
    except Unavailable:
        return False
    return True


@pytest.mark.real_redis
def test_a_redis_that_vanished_costs_a_process_one_wait_and_not_one_per_connection(
    redis_server: RedisServer,
) -> None:
    with (
        Blackhole(port_of(redis_server.url)) as hole,
        patient_redis(parse(f"redis://127.0.0.1:{hole.port}/0")) as client,
    ):
        together = threading.Barrier(4)

        def use(_number: int) -> None:
            with client.pipeline(transaction=False) as pipe:
                connection = client.connection_pool.get_connection()
                together.wait()
                client.connection_pool.release(connection)
                pipe.ping().execute()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(use, range(4)))
        assert len(client.connection_pool._available_connections) == 4
        hole.vanish()
        hole.come_back()  # as a new host, or a new master: what is open leads nowhere
        began = time.monotonic()
        for _ in range(8):
            assert client.ping()
        assert time.monotonic() - began < COST_S


@pytest.mark.real_redis
def test_no_blocking_read_outlasts_the_wait_for_a_silent_server() -> None:
    from deedbox.shared.broker.port import WAIT_S
    from deedbox.workers.lease import LINGER_S
    from deedbox.workers.rq_worker import POLL_S

    assert max(WAIT_S, LINGER_S, POLL_S) < SOCKET_TIMEOUT_S


@pytest.mark.real_redis
def test_the_kernel_ends_connections_to_a_host_that_vanished_idle_or_not(redis_server: RedisServer) -> None:
    clients = [patient_redis(parse(redis_server.url)), broker_at(redis_server.url).server.client]  # type: ignore[union-attr]
    for client in clients:
        connection = client.connection_pool.get_connection()
        for option, value in keepalive().items():
            assert connection._sock is not None
            assert connection._sock.getsockopt(6, option) == value
        client.connection_pool.release(connection)
        client.close()


@pytest.mark.rabbitmq
def test_the_kernel_ends_connections_to_a_rabbitmq_that_vanished(rabbitmq: RabbitServer) -> None:
    with connect(rabbitmq.url) as connection:
        for option, value in keepalive().items():
            assert connection.connection.transport.sock.getsockopt(6, option) == value


@pytest.mark.rabbitmq
@pytest.mark.real_redis
def test_what_a_bridge_held_that_vanished_goes_to_the_living_one(
    rabbitmq: RabbitServer, redis_server: RedisServer, state: Redis
) -> None:
    with connect(rabbitmq.url) as connection:
        raw_queue_of(connection).purge()
    broker = broker_at(rabbitmq.url)
    with (
        Blackhole(port_of(rabbitmq.url)) as hole,
        redis_server.client() as client,
        bridging(f"amqp://guest:guest@127.0.0.1:{hole.port}//", client, "vanishing") as first,
    ):
        until(lambda: len(first) == 1, "the first bridge consumes")
        hole.vanish()
        with bridging(rabbitmq.url, client, "living") as second:
            until(lambda: len(second) == 1, "the second bridge consumes")
            began = time.monotonic()
            broker.publish_many([callback(sent(request_id=f"r{number}")) for number in range(200)])

            def arrived() -> int:
                return sum(state.llen(keys.inbox(shard)) for shard in range(16))

            until(lambda: arrived() >= 200 - PREFETCH, "all but what the vanished one was given")
            until(lambda: arrived() == 200, "the rest", 30)
            assert time.monotonic() - began < COST_S + 5  # RabbitMQ looks at a heartbeat's end only
        hole.come_back()
    broker.close()


@pytest.mark.rabbitmq
def test_an_idle_publisher_stays_connected_and_one_that_vanished_does_not(
    rabbitmq: RabbitServer, envelope: Envelope
) -> None:
    with Blackhole(port_of(rabbitmq.url)) as living, Blackhole(port_of(rabbitmq.url)) as gone:
        brokers = [broker_at(f"amqp://guest:guest@127.0.0.1:{each.port}//") for each in (living, gone)]
        for broker in brokers:
            # It waits for 0.6 s, and the first one declares the queues: too short on a busy machine.
            until(partial(taken, broker, envelope), "RabbitMQ took a callback")
        serving = living.opened
        gone.vanish()
        until(
            lambda: gone.ended_by_server > 0, "RabbitMQ gave the vanished one up", 5 * PUBLISHER_HEARTBEAT_S
        )
        assert serving not in living.ended
        until(partial(taken, brokers[0], envelope), "RabbitMQ took another")
        for broker in brokers:
            broker.close()


def test_a_list_of_nodes_is_consumed_by_one_consumer_each() -> None:
    broker = broker_at("amqp://a//;amqp://b//;amqp://c//")
    assert len(broker.consumers("bridge", RedisAddress((("elsewhere", 1),)))) == 3
    assert amqp_broker.CONSUMER_HEARTBEAT_S * 2 < COST_S
