"""The queues of a broker that is no Redis, as an operator sees them: how deep, and what the broker gave up on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from deedbox.ops.installation import Installation
from deedbox.shared.broker import sqs, topology
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.redis import keys

_NOT_FOUND: Final = "404"


class BrokerQueues:
    """Raw queue and dead-letter queue over one kombu connection. Methods raise what the transport raises."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._driver = str(connection.transport.driver_type)

    def raw_depth(self) -> int:
        """Return how many callbacks wait in the broker."""
        if self._driver == "sqs":
            channel = self._connection.default_channel
            return sqs.depth(channel, sqs.raw_url(channel))
        return self._depth(keys.RAW_QUEUE)

    def dead_depth(self) -> int:
        """Return how many messages the broker gave up delivering; 0 for a broker that never does."""
        if self._driver == "sqs":
            channel = self._connection.default_channel
            return sqs.depth(channel, sqs.dead_url(channel))
        return self._depth(topology.DEAD_QUEUE) if self._driver == "amqp" else 0

    def take_dead(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        """Yield what the broker gave up on, in kombu's form, each with the call that removes it there."""
        if self._driver == "sqs":
            yield from self._take_from_sqs()
        elif self._driver == "amqp":
            queue = topology.dead_queue()(self._connection.default_channel)
            while (message := queue.get()) is not None:
                yield _in_kombus_form(message), message.ack

    def _take_from_sqs(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        channel = self._connection.default_channel
        url = sqs.dead_url(channel)
        while url is not None:
            reply = channel.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            if not reply.get("Messages"):
                return
            for message in reply["Messages"]:
                handle = message["ReceiptHandle"]

                def remove(handle: str = handle) -> None:
                    channel.sqs().delete_message(QueueUrl=url, ReceiptHandle=handle)

                yield message["Body"].encode(), remove

    def _depth(self, name: str) -> int:
        channel = (
            self._connection.channel()
        )  # RabbitMQ closes the one on which it was asked for a missing queue
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        except Exception as error:
            # A queue that nobody has declared yet is an empty one.
            if str(getattr(error, "reply_code", "")) == _NOT_FOUND:
                return 0
            raise
        finally:
            channel.close()


@contextmanager
def open_queues(installation: Installation) -> Iterator[BrokerQueues]:
    """Connect to the broker. Raises SettingsError for a Redis, Unavailable if the broker does not answer."""
    if installation.broker_redis is not None:
        raise SettingsError("The broker is a Redis, which gives up on nothing: it has no dead-letter queue.")
    url = installation.broker_url
    connection: Any = topology.connect(url)
    try:
        _ = connection.default_channel
    except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
        raise Unavailable(
            f"The broker does not answer ({type(error).__name__}): `deedbox check` says more."
        ) from None
    try:
        yield BrokerQueues(connection)
    finally:
        connection.collect()


def _in_kombus_form(message: Any) -> bytes:
    body = message.body
    raw = body.encode() if isinstance(body, str) else bytes(body)
    # Without RabbitMQ's own account of the message's death, which is no plain value.
    headers = {name: value for name, value in message.headers.items() if isinstance(value, str | int | float)}
    return encode_kombu(headers, raw)
