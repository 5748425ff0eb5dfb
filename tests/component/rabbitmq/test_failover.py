"""Several RabbitMQ nodes in one setting: whichever lives is used, by ingress and by the bridge."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from deedbox.shared.broker import amqp_broker
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.embedded import free_port
from tests.component.conftest import Operate
from tests.component.ingress.test_bounds import BOUND_S, full_port, silent_port
from tests.component.workers.rig import Deployment, Journal, envelope, sent
from tests.component.workers.server import RedisServer, running_rabbitmq, until
from tests.support.brokers import bridging, broker_at, connect
from tests.support.rabbitmq import RabbitServer

__all__ = ["full_port", "silent_port"]

pytestmark = [pytest.mark.rabbitmq, pytest.mark.real_redis]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """Lend a node that may be stopped; the session's own is the second."""
    with running_rabbitmq(tmp_path_factory.mktemp("first")) as server:
        yield server


@contextmanager
def frozen(server: RabbitServer) -> Iterator[None]:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def depth(url: str) -> int:
    with connect(url) as connection:
        amqp_broker.declare(connection)
        queue = amqp_broker.raw_queue()(connection.default_channel)
        return int(queue.queue_declare(passive=True).message_count)


def purge(url: str) -> None:
    with connect(url) as connection:
        amqp_broker.declare(connection)
        amqp_broker.raw_queue()(connection.default_channel).purge()


@pytest.fixture
def both(first: RabbitServer, amqp_url: str) -> str:
    """Return the URL of both nodes; their queues are empty."""
    for url in (first.url, amqp_url):
        purge(url)
    return f"{first.url};{amqp_url}"


def published_in_time(publisher: Broker, *request_ids: str) -> None:
    """Publish each within the bounded wait; a publish that failed is repeated, as the spool does it."""
    for request_id in request_ids:
        for _ in range(4):
            started = time.monotonic()
            try:
                publisher.publish(envelope(sent(request_id=request_id)))
            except Unavailable:
                assert time.monotonic() - started < BOUND_S
                continue
            assert time.monotonic() - started < BOUND_S
            break
        else:
            pytest.fail("neither broker took it")


def test_a_refused_first_address_costs_no_publish(amqp_url: str) -> None:
    purge(amqp_url)
    publisher = broker_at(f"amqp://guest:guest@127.0.0.1:{free_port()}//;{amqp_url}")
    published_in_time(publisher, "r1")
    publisher.publish_many([envelope(sent(request_id="r2"))])
    publisher.ping()
    publisher.close()
    assert depth(amqp_url) == 2


@pytest.mark.parametrize("port", ["silent_port", "full_port"])
def test_a_first_address_that_is_silent_or_swallows_everything_costs_no_more_than_the_bounded_wait(
    amqp_url: str, port: str, request: pytest.FixtureRequest
) -> None:
    purge(amqp_url)
    publisher = broker_at(f"amqp://guest:guest@127.0.0.1:{request.getfixturevalue(port)}//;{amqp_url}")
    published_in_time(publisher, "r1")
    publisher.close()
    assert depth(amqp_url) >= 1


def test_a_node_that_freezes_under_ingress_and_bridge_is_left_for_the_other_and_nothing_is_lost(
    first: RabbitServer, both: str, deployment: Deployment, journal: Journal, redis_server: RedisServer
) -> None:
    publisher = broker_at(both)

    def seen() -> set[str | None]:
        return {event.signature_request_id for event, _ in journal.calls}

    with redis_server.client() as client, bridging(both, client):
        published_in_time(publisher, "before")
        deployment.run_until(lambda: "before" in seen(), "the first node serves both")
        with frozen(first):
            published_in_time(publisher, "meanwhile-1", "meanwhile-2")
            # The bridge misses two heartbeats, and connects to the next.
            deployment_until(deployment, lambda: {"meanwhile-1", "meanwhile-2"} <= seen())
        publisher.close()


def deployment_until(deployment: Deployment, condition: Callable[[], bool]) -> None:
    """Wait for what the bridge brings after it has noticed a frozen node: up to two heartbeats of 10 s."""

    def settled() -> bool:
        deployment.sweeper.once()
        deployment.run()
        return condition()

    until(settled, "the second node serves both", 60)


def test_one_bridge_consumes_every_node(
    first: RabbitServer,
    both: str,
    amqp_url: str,
    deployment: Deployment,
    journal: Journal,
    redis_server: RedisServer,
) -> None:
    """Each node has a queue of its own, and ingress processes may use different ones."""
    with redis_server.client() as client, bridging(both, client):
        for number, url in enumerate((first.url, amqp_url, first.url, amqp_url)):
            publisher = broker_at(url)
            publisher.publish(envelope(sent(request_id=f"r{number}")))
            publisher.close()
        deployment.run_until(lambda: len(journal.calls) == 4, "all arrived")


def test_what_a_dead_node_held_arrives_when_it_is_back(
    first: RabbitServer, both: str, deployment: Deployment, journal: Journal, redis_server: RedisServer
) -> None:
    """What the first one confirmed waits on its disk; the bridge that runs meanwhile is not restarted."""
    publisher = broker_at(both)
    published_in_time(publisher, "held")
    first.end(signal.SIGTERM)
    published_in_time(publisher, "other")
    publisher.close()
    with redis_server.client() as client, bridging(both, client):
        deployment.run_until(lambda: len(journal.calls) == 1, "the second node's arrived")
        first.start()
        deployment.run_until(lambda: len(journal.calls) == 2, "the first node's arrived")
    assert {event.signature_request_id for event, _ in journal.calls} == {"held", "other"}


def test_status_counts_the_callbacks_of_the_living_node(amqp_url: str, operate: Operate) -> None:
    purge(amqp_url)
    publisher = broker_at(amqp_url)
    publisher.publish(envelope(sent()))
    publisher.close()
    dead = f"amqp://guest:guest@127.0.0.1:{free_port()}//"
    shown = operate("status", "--json", DEEDBOX_BROKER_URL=f"{dead};{amqp_url}").document
    assert shown["stages"]["broker"]["depth"] == 1
