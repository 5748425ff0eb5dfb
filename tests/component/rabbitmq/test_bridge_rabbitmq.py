"""From a confirmed publish to the action over RabbitMQ: acked last, lost never."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deedbox.shared import codec
from deedbox.shared.broker.kombu_consumer import KombuConsumer
from deedbox.shared.core.callback import outward
from deedbox.shared.redis import keys
from tests.component.workers.rig import Deployment, Journal, P, action, envelope, sent, viewed
from tests.component.workers.server import RedisServer, until
from tests.support.brokers import bridging, connect, run_until_killed

pytestmark = [pytest.mark.rabbitmq, pytest.mark.real_redis]

Publish = Callable[..., None]


def test_what_was_confirmed_reaches_the_action_byte_for_byte(
    amqp_url: str,
    publish: Publish,
    queue: Any,
    redis_server: RedisServer,
    deployment: Deployment,
    journal: Journal,
) -> None:
    first, second = envelope(sent(title="é/\\")), envelope(viewed(1))
    publish(first)
    publish(second)
    with redis_server.client() as client, bridging(amqp_url, client) as opened:
        deployment.run_until(lambda: len(journal.calls) == 2, "both arrived")
        [consumer] = opened
        assert isinstance(consumer, KombuConsumer)
        assert consumer._connection.get_heartbeat_interval() == 4
    assert [event.type for event, _ in journal.calls] == [P + "sent", P + "viewed"]
    assert journal.calls[0][0].payload == outward(json.loads(codec.body_of(first)))
    assert queue.queue_declare(passive=True).message_count == 0


def test_what_cannot_be_decoded_is_set_aside_and_the_rest_goes_on(
    amqp_url: str, publish: Publish, redis_server: RedisServer, deployment: Deployment, journal: Journal
) -> None:
    odd: list[dict[str, Any]] = [
        {"body": b"\xff", "headers": {"deedbox": 1}, "content_type": "application/octet-stream"},
        {"body": b"x", "headers": {}, "content_type": "application/x-python-serialize"},
        {
            "body": b"x",
            "headers": envelope(b"").headers() | {"compression": "zlib"},
            "content_type": "text/plain",
        },
    ]
    with connect(amqp_url) as connection:
        for each in odd:
            connection.Producer().publish(
                **each, content_encoding="binary", exchange="", routing_key=keys.RAW_QUEUE
            )
    publish(envelope(sent()))
    with redis_server.client() as client, bridging(amqp_url, client):
        deployment.run_until(lambda: len(journal.calls) == 1, "the good one arrived")
    assert len(deployment.letters()) == 3
    assert set(deployment.reasons()) == {"undecodable"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bridge_killed_around_its_append_loses_nothing_and_repeats_are_one_fact(
    amqp_url: str,
    publish: Publish,
    redis_server: RedisServer,
    deployment: Deployment,
    journal: Journal,
    when: str,
) -> None:
    publish(envelope(sent()))
    run_until_killed(amqp_url, redis_server.url, when)
    with redis_server.client() as client, bridging(amqp_url, client):
        arrived = 1 if when == "before" else 2
        deployment.run_until(lambda: deployment.counters()["arrived"] == arrived, "it was delivered again")
    assert journal.types() == ["sent"]
    assert deployment.counters()["duplicate"] == arrived - 1


def test_nothing_is_delivered_while_the_state_is_down(
    amqp_url: str, publish: Publish, queue: Any, fragile: RedisServer, journal: Journal
) -> None:
    """Each delivery that cannot be handed over counts; twenty of them, and the broker gives the callback up."""
    publish(envelope(sent()))
    fragile.kill()
    with (
        Redis.from_url(fragile.url, retry=Retry(NoBackoff(), 0)) as client,
        bridging(amqp_url, client) as opened,
    ):
        time.sleep(3)
        assert opened == []
    message = queue.get()
    assert message.headers.get("x-delivery-count", 0) == 0
    message.requeue()
    fragile.start()
    with fragile.client() as state, bridging(amqp_url, state):
        deployment = Deployment(state, action(journal))
        deployment.run_until(lambda: journal.calls, "it arrived")


def test_nothing_is_delivered_while_the_state_is_full(
    amqp_url: str, publish: Publish, queue: Any, fragile: RedisServer, journal: Journal
) -> None:
    """A full Redis answers a ping: only a write tells."""
    publish(envelope(sent()))
    with fragile.client() as state:
        state.config_set("maxmemory", 1)
        with bridging(amqp_url, state) as opened:
            time.sleep(3)
            assert opened == []
            message = queue.get()
            assert message.headers.get("x-delivery-count", 0) == 0
            message.requeue()
            state.config_set("maxmemory", 0)
            deployment = Deployment(state, action(journal))
            deployment.run_until(lambda: journal.calls, "it arrived")


def test_a_stopped_bridge_leaves_nothing_unacknowledged(
    amqp_url: str,
    publish: Publish,
    queue: Any,
    redis_server: RedisServer,
    deployment: Deployment,
    journal: Journal,
) -> None:
    for number in range(50):
        publish(envelope(sent(request_id=f"r{number}")))
    with redis_server.client() as client, bridging(amqp_url, client):
        until(lambda: any(state_inboxes(deployment.redis)), "the first were appended")
    time.sleep(0.2)
    left = queue.queue_declare(passive=True).message_count
    deployment.run()
    assert len(journal.calls) == 50 - left


def state_inboxes(state: Redis) -> list[int]:
    """Return the depth of every shard."""
    return [state.llen(keys.inbox(shard)) for shard in range(16)]
