"""The topic exchange of clean events: publishes one message at a time, and returns only when the broker has it.

Every wait is bounded as those of ingress are (``deedbox.shared.broker.topology``). A publish that timed out is *unknown*: whoever
tries again sends the same message with the same idempotency key. One connection per process, used from one thread.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import kombu

from deedbox.shared.broker import topology
from deedbox.shared.broker.errors import RefusedForCause, cause, refuses_for_cause
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.core.room import ROOM_BELOW, fullness
from deedbox.shared.redis import replicas

EXCHANGE: Final = "deedbox.events"

CONTENT_TYPE: Final = "application/json"
_ENCODING: Final = "utf-8"
_PERSISTENT: Final = 2
"""AMQP's delivery mode of a message that the broker writes to its disk."""

LOOK_EVERY_S: Final = 1.0
"""How often a Redis is asked how full it is."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    routing_key: str
    """The event type: letters, digits, ``_``, ``-`` and dots, 128 at most."""
    message_id: str
    headers: Mapping[str, Any]
    body: bytes = field(repr=False)


def demand_topics(url: str) -> None:
    """Check that a broker can have a topic exchange. Raises SettingsError."""
    if topology.is_sqs(url):
        raise SettingsError(
            "publish_event needs a broker with topic exchanges, which SQS is not; set DEEDBOX_EVENTS_URL to a "
            "RabbitMQ or Redis, or leave publish_event out of DEEDBOX_BUILTINS."
        )
    topology.connect(url)  # opens nothing


class EventBus:
    """Publishes to the exchange of one broker."""

    def __init__(
        self, url: str, wait_replicas: int = 0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``wait_replicas``: of a Redis, how many must have a message before it counts as published."""
        demand_topics(url)
        self._url = url
        self._redis = topology.is_redis(url)
        self._amqp = topology.is_amqp(url)
        self._wait_replicas = wait_replicas if self._redis else 0
        self._policy = topology.retry_policy(url)
        self._monotonic = monotonic
        self._connection: kombu.Connection | None = None
        self._looked_at = float("-inf")
        self._exchange = kombu.Exchange(EXCHANGE, "topic", durable=True)

    def publish(self, message: Message) -> None:
        """Publish one message; on return the broker has confirmed it.

        Where no queue is bound for its routing key, the broker drops it: that is what a topic exchange is. Raises
        Unavailable within about 2 s, and RefusedForCause if this message is the trouble.
        """
        try:
            connection = self._connected()
            if self._redis:
                self._push(connection, message)
            else:
                self._send(connection, message)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            self.close()
            if refuses_for_cause(error):
                raise RefusedForCause(f"the broker refuses this event ({cause(error)})") from None
            raise Unavailable(f"the events' broker did not confirm ({cause(error)})") from None
        except BaseException:
            # The action's time limit. A late confirm on this connection would be taken for the next message's.
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection; the next publish opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect()

    def _connected(self) -> kombu.Connection:
        if self._connection is None:
            connection = topology.connect(self._url)
            self._connection = connection
            self._exchange(connection.default_channel).declare()
        return self._connection

    def _send(self, connection: kombu.Connection, message: Message) -> None:
        with connection.Producer(auto_declare=False) as producer:
            producer.publish(
                message.body,
                exchange=self._exchange,
                routing_key=message.routing_key,
                headers=dict(message.headers),
                content_type=CONTENT_TYPE,
                content_encoding=_ENCODING,
                delivery_mode=_PERSISTENT,
                message_id=message.message_id,
                app_id="deedbox",
                # Declared again on a connection that kombu opened anew: the broker may have come back empty.
                declare=[self._exchange],
                retry=True,
                retry_policy=dict(self._policy),  # a copy: kombu writes it into the connection's options
                confirm_timeout=topology.confirm_timeout_s(self._url),
            )

    def _push(self, connection: kombu.Connection, message: Message) -> None:
        """Put the message on every bound queue in one transaction.

        kombu's own publish writes queue by queue and returns without having asked the replicas. A transaction
        is written to the disk once, and a crash leaves the message in all queues or in none.
        """
        channel = connection.default_channel
        table = channel.get_table(EXCHANGE)
        queues = sorted(channel.typeof(EXCHANGE, "topic").lookup(table, EXCHANGE, message.routing_key, None))
        with channel.conn_or_acquire() as client:
            self._demand_room(client)
            if not queues:
                return
            document = kombu_form(message)
            pipe = client.pipeline(transaction=True)
            for queue in queues:
                pipe.lpush(queue, document)
            replicas.execute(pipe, self._wait_replicas, replicas.PUBLISH_WAIT_S)

    def _demand_room(self, client: Any) -> None:
        """Wait while Redis fills up: a queue that nobody reads must not stop callbacks. Raises Unavailable."""
        now = self._monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        share = fullness(client.info("memory"))
        if share is not None and share >= ROOM_BELOW:
            raise Unavailable(f"the events' Redis is {share:.0%} full; is a queue of events left unread?")
        self._looked_at = now


def kombu_form(message: Message) -> bytes:
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
