"""RabbitMQ as the broker: a quorum queue with a dead-letter queue behind it, and publisher confirms.

A callback must be answered within seconds, and kombu waits 6 s for a port that refuses. So every wait is bounded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import kombu
from amqp.exceptions import NotFound

from deedbox.shared.broker import amqp_confirms
from deedbox.shared.broker.address import AmqpAddress
from deedbox.shared.broker.errors import cause
from deedbox.shared.broker.kombu_consumer import KombuConsumer, in_kombus_form
from deedbox.shared.broker.lending import DEFAULT_LIMIT, Connections, Lent
from deedbox.shared.broker.port import BrokerLook, Topics
from deedbox.shared.broker.topics import AmqpTopics
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.connections import keepalive

DEAD_QUEUE: Final = keys.RAW_QUEUE + ".dead"
"""Where RabbitMQ puts a message that was delivered ``DELIVERY_LIMIT`` times without an ack."""

DELIVERY_LIMIT: Final = 20
"""RabbitMQ 4 has this limit even when none is set, and drops what exceeds it unless there is a dead-letter queue."""

CONNECT_TIMEOUT_S: Final = 0.5
WAIT_S: Final = 0.6
"""Read, write and confirm, each. A publish waits for at most two of them; several nodes share it."""

PUBLISHER_HEARTBEAT_S: Final = 6
"""Without it RabbitMQ would keep the connections of a web host that vanished for ever."""

CONSUMER_HEARTBEAT_S: Final = 4
"""RabbitMQ gives what a dead bridge held to a living one after two of them."""

PREFETCH: Final = 50
"""What a bridge that vanished keeps from the others for so long. More would not make it faster."""


def raw_queue() -> kombu.Queue:
    """Return the queue of raw callbacks, which refuses when full and keeps what it gives up on."""
    return _quorum_queue(
        keys.RAW_QUEUE,
        {
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": DEAD_QUEUE,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def dead_queue() -> kombu.Queue:
    """Return the dead-letter queue of the raw queue."""
    return _quorum_queue(DEAD_QUEUE, {})


def _quorum_queue(name: str, arguments: dict[str, object]) -> kombu.Queue:
    arguments = {"x-queue-type": "quorum", **arguments}
    return kombu.Queue(name, kombu.Exchange(""), routing_key=name, durable=True, queue_arguments=arguments)


def declare(connection: Any) -> None:
    """Declare the queues: the dead-letter queue first, so that the raw queue never points nowhere.

    Raises py-amqp's errors; with other arguments than an existing queue's, RabbitMQ closes the channel.
    """
    dead_queue()(connection.default_channel).queue_declare()
    raw_queue()(connection.default_channel).queue_declare()


class AmqpBroker:
    """A RabbitMQ, or several nodes that stand in for each other."""

    name = "amqp"
    server = None

    def __init__(self, address: AmqpAddress, limit: int = DEFAULT_LIMIT) -> None:
        self.address = address
        self._share = len(address.nodes)
        self._first = 0
        """The node that answered last."""
        self._connections = Connections(self._ready, limit, _tend)

    def connection(self, *, heartbeat_s: float = 0) -> kombu.Connection:
        """Connect to the first node that answers. Raises what the transport raises."""
        error: Exception | None = None
        for turn in range(self._share):
            number = (self._first + turn) % self._share
            connection = self._to(number, heartbeat_s)
            try:
                _ = connection.default_channel  # `connect` would wait and try again by itself
            except Exception as failed:  # noqa: BLE001 - the last one is raised
                connection.collect()
                error = failed
                continue
            self._first = number
            return connection
        raise error or Unavailable("no node is named")

    def _to(self, number: int, heartbeat_s: float) -> kombu.Connection:
        wait_s = WAIT_S / self._share
        return kombu.Connection(
            self.address.nodes[number].url(),
            connect_timeout=CONNECT_TIMEOUT_S / self._share,
            ssl=self.address.tls.for_amqp() if self.address.tls else False,
            heartbeat=heartbeat_s,
            transport_options={
                "confirm_publish": True,
                "read_timeout": wait_s,
                "write_timeout": wait_s,
                "socket_settings": keepalive(),
                "max_retries": 0,
                "interval_start": 0,
            },
        )

    def _ready(self) -> kombu.Connection:
        """Open a connection to publish on: AMQP loses what it cannot route, so the queues are declared first."""
        connection = self.connection(heartbeat_s=PUBLISHER_HEARTBEAT_S)
        try:
            declare(connection)
        except BaseException:
            connection.collect()
            raise
        return connection

    def publish(self, envelope: Envelope) -> None:
        self._connections.use(partial(self._publish, envelope))

    def _publish(self, envelope: Envelope, lent: Lent) -> None:
        producer = lent.kept.get("producer")
        if producer is None:
            producer = lent.kept["producer"] = lent.connection.Producer(auto_declare=False)
        producer.publish(
            envelope.body,
            exchange="",
            routing_key=keys.RAW_QUEUE,
            headers=envelope.headers(),
            content_type="application/octet-stream",
            content_encoding="binary",
            delivery_mode="persistent",
            # A publish to a queue that is gone is confirmed all the same; only `mandatory` tells.
            mandatory=True,
            confirm_timeout=WAIT_S / self._share,
        )

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        if envelopes:
            wait_s = WAIT_S / self._share
            self._connections.use(lambda lent: amqp_confirms.publish_all(lent.connection, envelopes, wait_s))

    def ping(self) -> None:
        try:
            self._ready().collect()
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            raise Unavailable(f"the broker cannot be reached ({cause(error)})") from None

    def fullness(self) -> float | None:
        return None

    def demand(self) -> None:
        """Nothing that answers as RabbitMQ is unfit."""

    def look(self) -> BrokerLook:
        with self._opened() as connection:
            return BrokerLook(_depth(connection, keys.RAW_QUEUE), dead=_depth(connection, DEAD_QUEUE))

    def dead_depth(self) -> int:
        return self.look().dead

    def take_dead(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        with self._opened() as connection:
            queue = dead_queue()(connection.default_channel)
            while (message := queue.get()) is not None:
                yield in_kombus_form(message), message.ack

    def consumers(self, bridge: str, state: RedisAddress) -> Sequence[Callable[[], KombuConsumer]]:  # noqa: ARG002
        return [partial(_consumer, AmqpBroker(node)) for node in self.address.alone()]

    def topics(self) -> Topics:
        return AmqpTopics(
            Connections(partial(self.connection, heartbeat_s=PUBLISHER_HEARTBEAT_S), 2, _tend),
            WAIT_S / self._share,
        )

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _opened(self) -> Iterator[kombu.Connection]:
        try:
            connection = self.connection()
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            raise Unavailable(f"the broker cannot be reached ({cause(error)})") from None
        try:
            yield connection
        except kombu.exceptions.KombuError as error:
            raise Unavailable(f"the broker stopped answering ({cause(error)})") from None
        except (OSError, *connection.connection_errors, *connection.channel_errors) as error:
            raise Unavailable(f"the broker stopped answering ({cause(error)})") from None
        finally:
            connection.collect()


def _consumer(node: AmqpBroker) -> KombuConsumer:
    return KombuConsumer(
        partial(node.connection, heartbeat_s=CONSUMER_HEARTBEAT_S),
        declare,
        raw_queue(),
        prefetch=PREFETCH,
        multiple=True,
    )


def _tend(connection: Any) -> None:
    """Send a heartbeat and read those of RabbitMQ. Raises what the transport raises."""
    with suppress(TimeoutError):
        while True:
            connection.drain_events(timeout=0.001)
    connection.heartbeat_check()


def _depth(connection: Any, name: str) -> int:
    channel = connection.channel()  # RabbitMQ closes the one on which it was asked for a missing queue
    try:
        return int(channel.queue_declare(queue=name, passive=True).message_count)
    except NotFound:  # a queue that was not declared yet is empty
        return 0
    finally:
        channel.close()
