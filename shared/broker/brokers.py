"""Which broker the settings name: its address, and the one place that chooses the class."""

from __future__ import annotations

from deedbox.shared.broker import address
from deedbox.shared.broker.address import AmqpAddress, BrokerAddress, SqsAddress
from deedbox.shared.broker.amqp_broker import AmqpBroker
from deedbox.shared.broker.lending import DEFAULT_LIMIT
from deedbox.shared.broker.port import Broker
from deedbox.shared.broker.redis_broker import RedisBroker
from deedbox.shared.broker.sqs_broker import SqsBroker
from deedbox.shared.redis.connections import redis_address
from deedbox.shared.settings import Settings


def broker_address(settings: Settings) -> BrokerAddress:
    """Return where callbacks go: explicit, or the state's Redis. Raises SettingsError."""
    if settings.broker_url is None:
        return redis_address(settings)
    return address.parse(settings.broker_url.get_secret_value())


def events_address(settings: Settings) -> BrokerAddress:
    """Return the broker that ``publish_event`` publishes to. Raises SettingsError."""
    if settings.events_url is None:
        return broker_address(settings)
    return address.parse(settings.events_url.get_secret_value(), "DEEDBOX_EVENTS_URL")


def open_broker(where: BrokerAddress, limit: int = DEFAULT_LIMIT, wait_replicas: int = 0) -> Broker:
    """Return the broker of an address; connects to nothing yet.

    ``limit``: connections per process, at least the number of threads. ``wait_replicas``: DEEDBOX_REDIS_WAIT_REPLICAS; other
    brokers than Redis replicate by themselves. Raises SettingsError if a library for it is missing.
    """
    match where:
        case AmqpAddress():
            return AmqpBroker(where, limit)
        case SqsAddress():
            return SqsBroker(where, limit)
        case _:
            return RedisBroker(where, limit, wait_replicas)
