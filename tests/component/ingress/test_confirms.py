"""Many publishes, one wait: every message is confirmed by its own number, or the batch is not."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from deedbox.ingress.spool.drain import Drainer
from deedbox.shared.broker import amqp_broker
from deedbox.shared.broker.amqp_confirms import Confirms, NotConfirmed, publish_all
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from tests.component.ingress.conftest import Server
from tests.component.ingress.spooling import left, number_of, numbered, spooled
from tests.component.ingress.test_bounds import BOUND_S
from tests.component.workers.server import running_rabbitmq
from tests.support.brokers import broker_at, connect
from tests.support.rabbitmq import RabbitServer


def test_an_ack_settles_the_message_that_it_names_and_no_other() -> None:
    confirms = Confirms(3)
    confirms.ack(2, False)
    confirms.ack(2, False)
    assert confirms.waiting == {1, 3}


def test_a_multiple_ack_settles_everything_up_to_its_number() -> None:
    confirms = Confirms(5)
    confirms.ack(3, True)
    assert confirms.waiting == {4, 5}
    confirms.ack(0, True)
    assert confirms.waiting == set()


def test_a_nack_is_a_refusal_and_not_a_confirm() -> None:
    confirms = Confirms(4)
    confirms.nack(2, True)
    confirms.ack(4, True)
    assert (confirms.waiting, confirms.refused) == (set(), 2)


@pytest.fixture
def connection(rabbitmq_broker: Server) -> Iterator[Any]:
    """Lend a connection, with no raw queue before and after."""
    with connect(rabbitmq_broker.url) as opened:
        raw = amqp_broker.raw_queue()(opened.default_channel)
        raw.delete()
        yield opened
    with connect(rabbitmq_broker.url) as opened:
        amqp_broker.raw_queue()(opened.default_channel).delete()


@pytest.fixture
def publisher(rabbitmq_broker: Server, connection: Any) -> Iterator[Broker]:
    amqp_broker.declare(connection)
    found = broker_at(rabbitmq_broker.url, limit=2)
    yield found
    found.close()


def arrived(url: str) -> list[Envelope]:
    """Take everything out of the raw queue."""
    with connect(url) as opened:
        queue = amqp_broker.raw_queue()(opened.default_channel)
        messages = iter(lambda: queue.get(no_ack=True), None)
        return [Envelope.from_headers(message.headers, message.body) for message in messages]


@pytest.mark.rabbitmq
def test_a_confirmed_batch_is_in_the_queue_unchanged_and_in_order(
    rabbitmq_broker: Server, publisher: Broker
) -> None:
    batches = [[numbered(number) for number in range(first, first + 300)] for first in (0, 300)]
    for batch in batches:
        publisher.publish_many(batch)
    assert arrived(rabbitmq_broker.url) == batches[0] + batches[1]


@pytest.mark.rabbitmq
def test_a_batch_is_persistent(publisher: Broker, connection: Any) -> None:
    publisher.publish_many([numbered(1)])
    message = amqp_broker.raw_queue()(connection.default_channel).get(no_ack=True)
    assert message.properties["delivery_mode"] == 2


@pytest.mark.rabbitmq
def test_a_batch_that_cannot_be_routed_is_not_confirmed_although_rabbitmq_acks_it(connection: Any) -> None:
    with pytest.raises(NotConfirmed, match="3 could not be routed"):
        publish_all(connection, [numbered(number) for number in range(3)], 5.0)


@pytest.mark.rabbitmq
def test_a_batch_of_which_the_queue_refuses_a_part_is_not_confirmed(connection: Any) -> None:
    full = kombu.Queue(
        keys.RAW_QUEUE, durable=True, queue_arguments={"x-max-length": 4, "x-overflow": "reject-publish"}
    )
    full(connection.default_channel).queue_declare()
    with pytest.raises(NotConfirmed, match="were refused"):
        publish_all(connection, [numbered(number) for number in range(20)], 5.0)


@pytest.mark.rabbitmq
def test_a_batch_to_a_frozen_broker_fails_in_time_and_a_later_one_is_confirmed(
    rabbitmq_broker: Server, publisher: Broker
) -> None:
    publisher.publish_many([numbered(1)])
    with rabbitmq_broker.frozen():
        started = time.monotonic()
        with pytest.raises(Unavailable):
            publisher.publish_many([numbered(2), numbered(3)])
        assert time.monotonic() - started < BOUND_S
    publisher.publish_many([numbered(4)])
    assert {1, 4} <= {number_of(envelope) for envelope in arrived(rabbitmq_broker.url)}


QUEUE_KNOWN_S = 4.0
"""RabbitMQ 3.10 killed within some 2 s of a quorum queue's declaration never finds that queue's leader again."""


@pytest.fixture
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """Lend a node that may be killed."""
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.mark.rabbitmq
def test_a_rabbitmq_killed_in_the_middle_of_a_drain_costs_repeats_and_nothing_else(
    tmp_path: Path, own_node: RabbitServer
) -> None:
    """Frames leave the spool only when every confirm of their batch has come."""
    folder = spooled(tmp_path, range(2_000))
    publisher = broker_at(own_node.url)
    publisher.ping()
    time.sleep(QUEUE_KNOWN_S)

    class Sink:
        """Kills the broker before the third batch."""

        publish = staticmethod(publisher.publish)
        batches = 0

        def publish_many(self, envelopes: list[Envelope]) -> None:
            self.batches += 1
            if self.batches == 3:
                own_node.end(signal.SIGKILL)
            publisher.publish_many(envelopes)

    sink: Any = Sink()
    assert Drainer(folder, sink, batch=200).drain().trouble is not None
    assert left(folder)
    own_node.start()
    for _ in range(100):
        if Drainer(folder, sink, batch=200).drain().trouble is None and not left(folder):
            break
        time.sleep(0.1)
    publisher.close()
    assert {number_of(envelope) for envelope in arrived(own_node.url)} == set(range(2_000))
