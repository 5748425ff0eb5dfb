"""The publisher and the topology against a real RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest

from deedbox.shared.broker import amqp_broker
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from tests.component.ingress.conftest import Server
from tests.component.ingress.test_bounds import BOUND_S
from tests.support.brokers import broker_at, connect

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def queue(rabbitmq_broker: Server) -> Iterator[Any]:
    """Lend the raw queue, deleted before and after."""
    with connect(rabbitmq_broker.url) as connection:
        bound = amqp_broker.raw_queue()(connection.default_channel)
        bound.delete()
        yield bound
        bound.delete()


@pytest.fixture
def publisher(rabbitmq_broker: Server) -> Iterator[Broker]:
    found = broker_at(rabbitmq_broker.url, limit=4)
    yield found
    found.close()


def test_a_confirmed_message_is_persistent_and_unchanged(
    publisher: Broker, queue: Any, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    message = queue.get(no_ack=True)
    assert Envelope.from_headers(message.headers, message.body) == envelope
    assert message.properties["delivery_mode"] == 2


def test_a_queue_that_vanished_is_noticed_and_declared_again(
    publisher: Broker, queue: Any, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    queue.delete()
    with pytest.raises(Unavailable):
        publisher.publish(envelope)
    publisher.publish(envelope)
    assert queue.queue_declare(passive=True).message_count == 1


def test_a_queue_declared_otherwise_is_not_used(
    rabbitmq_broker: Server, publisher: Broker, queue: Any, envelope: Envelope
) -> None:
    with connect(rabbitmq_broker.url) as connection:
        kombu.Queue(keys.RAW_QUEUE, durable=True)(connection.default_channel).queue_declare()
    with pytest.raises(Unavailable):
        publisher.publish(envelope)
    assert queue.queue_declare(passive=True).message_count == 0


def test_what_is_refused_too_often_lands_in_the_dead_letter_queue(
    rabbitmq_broker: Server, publisher: Broker, queue: Any, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    queue.get().reject()
    with connect(rabbitmq_broker.url) as connection:
        dead = amqp_broker.dead_queue()(connection.default_channel)
        message = None
        for _ in range(100):
            message = dead.get(no_ack=True)
            if message is not None:
                break
            time.sleep(0.05)
    assert message is not None
    assert message.body == envelope.body


def test_a_rabbitmq_that_freezes_fails_in_time_and_heals(
    rabbitmq_broker: Server, publisher: Broker, queue: Any, envelope: Envelope
) -> None:
    publisher.publish(envelope)
    with rabbitmq_broker.frozen():
        attempts: list[Callable[[], None]] = [lambda: publisher.publish(envelope), publisher.ping]
        for attempt in attempts:
            started = time.monotonic()
            with pytest.raises(Unavailable):
                attempt()
            assert time.monotonic() - started < BOUND_S
    publisher.ping()
    publisher.publish(envelope)
    assert queue.queue_declare(passive=True).message_count >= 2
