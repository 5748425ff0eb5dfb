"""The topic exchange of clean events: publishes one message at a time, and returns only when the broker has it."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import kombu

from deedbox.shared.broker.fullness import ROOM_BELOW, fullness
from deedbox.shared.broker.lending import Connections, Lent
from deedbox.shared.broker.port import TopicMessage
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import replicas
from deedbox.shared.redis.replicas import NotReplicated

EXCHANGE: Final = "deedbox.events"
CONTENT_TYPE: Final = "application/json"
_ENCODING: Final = "utf-8"
_PERSISTENT: Final = 2
"""AMQP's delivery mode of a message that the broker writes to its disk."""

LOOK_EVERY_S: Final = 1.0
"""How often a Redis is asked how full it is."""


def exchange() -> kombu.Exchange:
    """Return the exchange."""
    return kombu.Exchange(EXCHANGE, "topic", durable=True)


class AmqpTopics:
    """RabbitMQ's."""

    def __init__(self, connections: Connections, confirm_s: float) -> None:
        self._connections = connections
        self._confirm_s = confirm_s

    def publish(self, message: TopicMessage) -> None:
        self._connections.use(partial(self._publish, message))

    def close(self) -> None:
        self._connections.close()

    def _publish(self, message: TopicMessage, lent: Lent) -> None:
        producer = lent.kept.get("producer")
        if producer is None:
            exchange()(lent.connection.default_channel).declare()
            producer = lent.kept["producer"] = lent.connection.Producer(auto_declare=False)
        producer.publish(
            message.body,
            exchange=EXCHANGE,
            routing_key=message.routing_key,
            headers=dict(message.headers),
            content_type=CONTENT_TYPE,
            content_encoding=_ENCODING,
            delivery_mode=_PERSISTENT,
            message_id=message.message_id,
            app_id="deedbox",
            confirm_timeout=self._confirm_s,
        )


class RedisTopics:
    """kombu's on Redis: a queue is a list, and the table of bindings a set."""

    def __init__(
        self,
        connections: Connections,
        client_of: Callable[[Lent], Any],
        wait_replicas: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._client_of = client_of
        self._wait_replicas = wait_replicas
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._in_doubt = False
        """Whether the replicas did not confirm the last message: written again and again, it would fill the queues."""

    def publish(self, message: TopicMessage) -> None:
        self._connections.use(partial(self._publish, message))

    def close(self) -> None:
        self._connections.close()

    def _publish(self, message: TopicMessage, lent: Lent) -> None:
        """Put the message on every bound queue in one transaction.

        kombu's own publish writes queue by queue and returns without having asked the replicas. A transaction
        is written to the disk once, and a crash leaves the message in all queues or in none.
        """
        channel = lent.connection.default_channel
        if not lent.kept.get("declared"):
            exchange()(channel).declare()
            lent.kept["declared"] = True
        table = channel.get_table(EXCHANGE)
        queues = sorted(channel.typeof(EXCHANGE, "topic").lookup(table, EXCHANGE, message.routing_key, None))
        client = self._client_of(lent)
        self._demand_room(client)
        if self._in_doubt:
            replicas.demand(client, self._wait_replicas)
            self._in_doubt = False
        if not queues:
            return
        document = kombu_form(message)
        pipe = client.pipeline(transaction=True)
        for queue in queues:
            pipe.lpush(queue, document)
        try:
            replicas.execute(pipe, self._wait_replicas, replicas.PUBLISH_WAIT_S)
        except NotReplicated:
            self._in_doubt = True
            raise

    def _demand_room(self, client: Any) -> None:
        """Wait while Redis fills up: a queue without a reader must not stop callbacks. Raises Unavailable."""
        now = self._monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        share = fullness(client.info("memory"))
        if share is not None and share >= ROOM_BELOW:
            raise Unavailable(f"the events' Redis is {share:.0%} full; is a queue of events left unread?")
        self._looked_at = now


def kombu_form(message: TopicMessage) -> bytes:
    """Return a message as kombu's Redis transport stores it, for any kombu consumer."""
    document = {
        "body": base64.b64encode(message.body).decode(),
        "content-encoding": _ENCODING,
        "content-type": CONTENT_TYPE,
        "headers": dict(message.headers),
        "properties": {
            "message_id": message.message_id,
            "app_id": "deedbox",
            "delivery_mode": _PERSISTENT,
            "delivery_info": {"exchange": EXCHANGE, "routing_key": message.routing_key},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()
