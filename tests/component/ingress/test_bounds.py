"""A publish ends in time, whatever the broker does.

2 s are promised; the assertions allow a busy machine one more. Without bounds each of these takes 6 s or for ever.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from deedbox.shared.broker.port import Broker
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import Server
from tests.support.brokers import broker_at

BOUND_S = 3.0

SCHEMES = pytest.mark.parametrize("scheme", ["redis", "amqp"])


def assert_bounded(publisher: Broker, envelope: Envelope) -> None:
    """Publish and ask for readiness: both fail in time."""
    attempts: list[Callable[[], None]] = [lambda: publisher.publish(envelope), publisher.ping]
    for attempt in attempts:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            attempt()
        assert time.monotonic() - started < BOUND_S
    publisher.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Listen, and never say a word: the kernel accepts connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def full_port() -> Iterator[int]:
    """Listen with a full queue, so that new connections get no answer: a black hole on loopback."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@SCHEMES
def test_a_refused_port_fails_in_time(scheme: str, envelope: Envelope) -> None:
    assert_bounded(broker_at(f"{scheme}://127.0.0.1:{free_port()}//"), envelope)


@SCHEMES
def test_a_silent_broker_fails_in_time(scheme: str, silent_port: int, envelope: Envelope) -> None:
    assert_bounded(broker_at(f"{scheme}://127.0.0.1:{silent_port}//"), envelope)


@SCHEMES
def test_a_black_hole_fails_in_time(scheme: str, full_port: int, envelope: Envelope) -> None:
    assert_bounded(broker_at(f"{scheme}://127.0.0.1:{full_port}//"), envelope)


def test_two_silent_brokers_fail_in_the_time_of_one(silent_port: int, envelope: Envelope) -> None:
    url = f"amqp://127.0.0.1:{silent_port}//"
    assert_bounded(broker_at(f"{url};{url}"), envelope)


@pytest.mark.real_redis
def test_a_redis_that_freezes_fails_in_time_and_heals(redis_broker: Server, envelope: Envelope) -> None:
    publisher = broker_at(redis_broker.url)
    publisher.publish(envelope)
    with redis_broker.frozen():
        assert_bounded(publisher, envelope)
        assert_bounded(publisher, envelope)
    publisher.publish(envelope)
    publisher.close()


@pytest.mark.real_redis
def test_more_threads_than_connections_fail_in_time(redis_broker: Server, envelope: Envelope) -> None:
    publisher = broker_at(redis_broker.url, limit=2)
    publisher.publish(envelope)
    with redis_broker.frozen(), ThreadPoolExecutor(12) as pool:
        started = time.monotonic()
        for outcome in [pool.submit(publisher.publish, envelope) for _ in range(12)]:
            assert isinstance(outcome.exception(), Unavailable)
        assert time.monotonic() - started < BOUND_S
    publisher.close()
