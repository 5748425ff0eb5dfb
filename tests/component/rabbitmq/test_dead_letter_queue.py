"""What RabbitMQ gives up delivering: seen by a person, and brought back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.broker import amqp_broker
from deedbox.shared.core.callback import outward
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action, envelope, sent
from tests.component.workers.server import RedisServer, until
from tests.support.brokers import bridging, connect

pytestmark = [pytest.mark.rabbitmq, pytest.mark.real_redis]


def give_up_on(queue: Any) -> None:
    """Take a message without an ack until RabbitMQ has enough of it, as a bridge would that dies each time."""
    for _ in range(amqp_broker.DELIVERY_LIMIT + 1):
        message = until(queue.get, "it is delivered again")
        message.requeue()


@pytest.fixture
def dead(amqp_url: str) -> Any:
    """Empty the dead-letter queue."""
    with connect(amqp_url) as connection:
        amqp_broker.declare(connection)
        amqp_broker.dead_queue()(connection.default_channel).purge()


@pytest.mark.usefixtures("dead")
def test_a_poisonous_delivery_ends_as_a_dead_letter_and_a_redrive_processes_it(
    amqp_url: str,
    publish: Callable[..., None],
    queue: Any,
    state: Redis,
    redis_server: RedisServer,
    operate: Operate,
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal))
    publish(envelope(sent(title="é")))
    give_up_on(queue)
    broker = {"DEEDBOX_BROKER_URL": amqp_url}

    def warned() -> bool:
        said = operate("status", "--json", **broker).document["warnings"]
        return any("gave up delivering 1 message" in each["text"] for each in said)

    until(warned, "status says it")

    looked = operate("dead", "collect", "--dry-run", "--json", **broker).document
    assert looked == {"found": 1, "collected": 0}
    done = operate("dead", "collect", "--yes", "--json", **broker).document
    assert done == {"found": 1, "collected": 1}
    [letter] = operate("dead", "list", "--json", **broker).document["letters"]
    assert letter["reason"] == "undeliverable"
    assert operate("status", "--json", **broker).document["stages"]["dead"]["depth"] == 1
    assert not warned()

    assert operate("dead", "redrive", letter["id"], "--yes", **broker).code == 0
    with redis_server.client() as client, bridging(amqp_url, client):
        deployment.run_until(lambda: journal.calls, "it was processed")
    assert journal.calls[0][0].payload == outward(json.loads(sent(title="é")))
    assert deployment.letters() == []


def test_a_broker_that_is_a_redis_has_no_dead_letter_queue(operate: Operate) -> None:
    answer = operate("dead", "collect", "--yes")
    assert answer.code == 2
    assert "gives up on nothing" in answer.sentence


def test_status_sees_a_living_bridge_and_misses_a_dead_one(
    amqp_url: str, queue: Any, publish: Callable[..., None], state: Redis, operate: Operate
) -> None:
    broker = {"DEEDBOX_BROKER_URL": amqp_url}
    publish(envelope(sent()))
    said = operate("status", "--json", **broker).document["warnings"]
    assert "no_bridge" in [each["kind"] for each in said]
    with bridging(amqp_url, state):
        until(lambda: queue.queue_declare(passive=True).message_count == 0, "it was taken")
        assert "bridge          alive" in operate("status", **broker).out
    state.flushall()
    assert "bridge          none" in operate("status", **broker).out
