"""Amazon SQS as the broker: through kombu's transport, with queues of our making or one that the address names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import kombu

from deedbox.shared.broker.address import SqsAddress
from deedbox.shared.broker.errors import cause
from deedbox.shared.broker.kombu_consumer import KombuConsumer
from deedbox.shared.broker.lending import DEFAULT_LIMIT, Connections, Lent
from deedbox.shared.broker.port import BrokerLook, Topics
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.retention import DAY_S

CONNECT_TIMEOUT_S: Final = 0.5
READ_TIMEOUT_S: Final = 1.2
"""A send takes some 10 ms within a region. Connecting and sending together stay below 2 s."""

POLL_S: Final = 1
"""A receive waits for so long at the broker: cheaper than asking again, and short enough to stop."""

POLL_TIMEOUT_S: Final = POLL_S + 3.0

RECEIVES_MAX: Final = 20
"""So often SQS delivers a message without an ack, until it moves it to the dead-letter queue."""

RETENTION_S: Final = 14 * DAY_S
"""The longest that SQS allows. Its default of 4 days would drop callbacks while workers are away."""

SPREAD: Final = 16
"""Publishers side by side for many envelopes: each is answered alone."""

_NAMES: Final = str.maketrans({".": "-"})
"""How kombu spells a queue's name for SQS, which allows no dots."""

RAW: Final = keys.RAW_QUEUE.translate(_NAMES)
DEAD: Final = f"{keys.RAW_QUEUE}.dead".translate(_NAMES)

_AMAZON_HOST: Final = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com", re.ASCII)


def errors() -> tuple[type[Exception], ...]:
    """Return what AWS's library raises. Raises SettingsError where it is not installed."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise SettingsError(
            "DEEDBOX_BROKER_URL names SQS, which needs the extra: pip install 'deedbox[sqs]'."
        ) from None
    return (BotoCoreError, ClientError)


class SqsBroker:
    """One pair of queues."""

    name = "sqs"
    server = None

    def __init__(self, address: SqsAddress, limit: int = DEFAULT_LIMIT) -> None:
        """Build it. Raises SettingsError without AWS's library."""
        self._errors = errors()
        self.address = address
        self._limit = limit
        self._connections = Connections(self.connection, limit)

    def connection(self, *, consuming: bool = False) -> kombu.Connection:
        """Return a connection of kombu's. ``consuming``: SQS is asked to wait for messages, and is given the time."""
        where = self.address
        options: dict[str, Any] = {
            "client-config": {
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": POLL_TIMEOUT_S if consuming else READ_TIMEOUT_S,
                # botocore counts the first attempt too, and waits between attempts.
                "retries": {"total_max_attempts": 1, "mode": "standard"},
            },
            "wait_time_seconds": POLL_S,
            # The poll itself waits; another pause between polls would only delay.
            "polling_interval": 0,
            "visibility_timeout": where.visibility_timeout_s,
            "is_secure": where.encrypted,
            # The body is base64 inside kombu's envelope already; a second time costs a third of the size limit.
            "sqs_base64_encoding": False,
            "max_retries": 0,
            "interval_start": 0,
        }
        region = where.region or _region_of(where.queue) or os.environ.get("AWS_REGION")
        if region:
            options["region"] = region
        if where.queue:
            options["predefined_queues"] = {RAW: {"url": where.queue}}
        return kombu.Connection(
            where.host or None, where.key, where.secret, port=where.port, transport="sqs",
            connect_timeout=CONNECT_TIMEOUT_S, transport_options=options,
        )  # fmt: skip

    def publish(self, envelope: Envelope) -> None:
        self._connections.use(partial(self._publish, envelope))

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        if envelopes:
            with ThreadPoolExecutor(min(SPREAD, self._limit)) as pool:
                for _ in pool.map(self.publish, envelopes):
                    pass

    def _publish(self, envelope: Envelope, lent: Lent) -> None:
        producer = lent.kept.get("producer")
        if producer is None:
            declare(lent.connection)
            producer = lent.kept["producer"] = lent.connection.Producer(auto_declare=False)
        producer.publish(
            envelope.body,
            exchange="",
            routing_key=keys.RAW_QUEUE,
            headers=envelope.headers(),
            content_type="application/octet-stream",
            content_encoding="binary",
            delivery_mode="persistent",
        )

    def ping(self) -> None:
        with self._opened() as connection:
            declare(connection)

    def fullness(self) -> float | None:
        return None

    def demand(self) -> None:
        """Nothing that answers as SQS is unfit."""

    def look(self) -> BrokerLook:
        with self._opened() as connection:
            channel = connection.default_channel
            return BrokerLook(_depth(channel, _raw_url(channel)), dead=_depth(channel, _dead_url(channel)))

    def dead_depth(self) -> int:
        return self.look().dead

    def take_dead(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        with self._opened() as connection:
            channel = connection.default_channel
            url = _dead_url(channel)
            while url is not None:
                reply = channel.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
                if not reply.get("Messages"):
                    return
                for message in reply["Messages"]:
                    handle = message["ReceiptHandle"]
                    yield (
                        message["Body"].encode(),
                        partial(channel.sqs().delete_message, QueueUrl=url, ReceiptHandle=handle),
                    )

    def consumers(self, bridge: str, state: RedisAddress) -> Sequence[Callable[[], KombuConsumer]]:  # noqa: ARG002
        connect = partial(self.connection, consuming=True)
        queue = kombu.Queue(keys.RAW_QUEUE, kombu.Exchange(""), routing_key=keys.RAW_QUEUE, durable=True)
        return [partial(KombuConsumer, connect, declare, queue, bulk=True, errors=self._errors)]

    def topics(self) -> Topics:
        raise SettingsError(
            "publish_event needs a broker with topic exchanges, which SQS is not; set DEEDBOX_EVENTS_URL to a "
            "RabbitMQ or Redis, or leave publish_event out of DEEDBOX_BUILTINS."
        )

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        connection = self.connection()
        try:
            yield connection
        except (OSError, kombu.exceptions.KombuError, *self._errors) as error:
            raise Unavailable(f"the broker cannot be reached ({cause(error)})") from None
        finally:
            connection.collect()


def declare(connection: Any) -> None:
    """Make sure that the raw queue is there, with a dead-letter queue behind it. Raises botocore's errors.

    kombu would make a queue without one. Does nothing for a queue that the address names, or that is there already: its
    owner decides about it.
    """
    channel = connection.default_channel
    if channel.predefined_queues:
        return
    known: dict[str, str] = connection.transport._queue_cache  # noqa: SLF001 - listing lags behind creating
    if RAW not in known:
        known[RAW] = _url(channel.sqs(), RAW) or _created(channel)


def _created(channel: Any) -> str:
    client = channel.sqs()
    kept = {"MessageRetentionPeriod": str(RETENTION_S)}
    dead_letters = client.create_queue(QueueName=DEAD, Attributes=kept)["QueueUrl"]
    arn = _attributes(channel, dead_letters)["QueueArn"]
    attributes = {
        "VisibilityTimeout": str(channel.visibility_timeout),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES_MAX}),
    }
    return str(client.create_queue(QueueName=RAW, Attributes=kept | attributes)["QueueUrl"])


def _region_of(queue_url: str) -> str | None:
    found = _AMAZON_HOST.search(queue_url)
    return found.group(1) if found else None


def _raw_url(channel: Any) -> str | None:
    """Return the URL of the raw queue; None if there is none. Creates nothing."""
    if RAW in channel.predefined_queues:
        return str(channel.predefined_queues[RAW]["url"])
    return _url(channel.sqs(), RAW)


def _dead_url(channel: Any) -> str | None:
    """Return the URL of the queue into which SQS puts what was never acknowledged; None if there is none."""
    url = _raw_url(channel)
    policy = json.loads(_attributes(channel, url).get("RedrivePolicy", "{}")) if url else {}
    arn = str(policy.get("deadLetterTargetArn", ""))
    return _url(channel.sqs(), arn.rpartition(":")[2]) if arn else None


def _depth(channel: Any, url: str | None) -> int:
    """Return how many messages wait to be delivered, roughly; 0 without a queue."""
    return int(_attributes(channel, url)["ApproximateNumberOfMessages"]) if url else 0


def _attributes(channel: Any, url: str) -> dict[str, str]:
    found: dict[str, str] = channel.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
        "Attributes"
    ]
    return found


def _url(client: Any, name: str) -> str | None:
    try:
        return str(client.get_queue_url(QueueName=name)["QueueUrl"])
    except client.exceptions.QueueDoesNotExist:
        return None
