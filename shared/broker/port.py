"""What a broker is to everything else: no other module asks which one it is.

One class per transport: ``redis_broker``, ``amqp_broker``, ``sqs_broker``. Each is built from one address
(``deedbox.shared.broker.brokers``), is safe for threads, and may be built before a fork. Nothing is opened before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from redis import Redis

from deedbox.shared.broker.address import BrokerAddress
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.inbox import Load
from deedbox.shared.redis.script_calls import RawClaim

WAIT_S: Final = 1
"""Longest wait of a consumer for a callback: then its bridge looks around, for a stop, redrives and dead bridges."""

BATCH: Final = 250
BATCH_BYTES: Final = 4 * 1024 * 1024
LEASE_S: Final = 10.0
"""How long a bridge's claim lasts without another round, at least the half of it: a crash delays its callbacks by this
at most."""


@dataclass(frozen=True, slots=True)
class BrokerLook:
    """What an operator sees of a broker."""

    depth: int
    """Callbacks that wait."""
    oldest_age_s: float | None = None
    """Age of the oldest; None: this broker does not tell, or there is none."""
    claimed: int = 0
    """Callbacks that bridges took and have not appended yet, where the broker tells."""
    claimed_age_s: float | None = None
    dead: int = 0
    """What the broker gave up delivering."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis, for a closer look."""

    client: Redis
    """One that fails within seconds."""
    address: RedisAddress


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """A clean event on its way to other services."""

    routing_key: str
    """The event type: letters, digits, ``_``, ``-`` and dots, 128 at most."""
    message_id: str
    headers: Mapping[str, Any]
    body: bytes = field(repr=False)


class Consumer(Protocol):
    """Takes callbacks from the broker for one bridge; not for threads. What it took comes again unless it is ``done``."""

    @property
    def claim(self) -> RawClaim | None:
        """What an append may drop with its own write, because broker and state are one Redis; else None."""

    def take(self, load: Load) -> int:
        """Add callbacks to a batch, waiting up to ``WAIT_S`` for the first. Takes nothing new while it holds some.

        Returns how many there were without a wait. Raises Unavailable.
        """

    def done(self) -> None:
        """Acknowledge what was taken. Raises Unavailable; it then comes again."""

    def keep(self) -> None:
        """Say that this consumer lives while what it took cannot be appended yet; waits a moment. Raises Unavailable."""

    def close(self) -> None:
        """Give back what was taken and is not done."""


class Topics(Protocol):
    """The topic exchange of clean events."""

    def publish(self, message: TopicMessage) -> None:
        """Publish one message; on return the broker has confirmed it.

        Where no queue is bound for its routing key, the broker drops it: that is what a topic exchange is. Raises
        Unavailable within about 2 s, and RefusedForCause if this message is the trouble. A publish that timed out is
        *unknown*: the caller sends the same message again, with the same id.
        """

    def close(self) -> None:
        """Close this process's connections; the next publish opens others."""


class Broker(Protocol):
    """One broker, whatever it is."""

    name: str
    """For people: redis, amqp, sqs."""

    @property
    def address(self) -> BrokerAddress:
        """Where it is."""

    @property
    def server(self) -> RedisServer | None:
        """The Redis that it is, for checks of its durability; None for another broker."""

    def publish(self, envelope: Envelope) -> None:
        """Publish one envelope; on return the broker has confirmed it.

        Raises Unavailable within 2 s for every state of the broker; the envelope may then have arrived or not.
        Raises RefusedForCause if the broker is well and this envelope is the trouble.
        """

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        """Publish several, in order where the transport allows; on return the broker has confirmed all.

        Raises Unavailable; any of them may then have arrived.
        """

    def ping(self) -> None:
        """Make sure that it can be reached and has its queues, on a separate connection. Raises Unavailable within 2 s."""

    def fullness(self) -> float | None:
        """Return the share of its memory that is in use; None if it has no limit. Raises Unavailable within 2 s."""

    def demand(self) -> None:
        """Refuse a broker that answers and can never serve. One that does not answer is none. Raises SettingsError."""

    def look(self) -> BrokerLook:
        """Look at its queues. Raises Unavailable."""

    def dead_depth(self) -> int:
        """Return how many messages it gave up delivering. Raises SettingsError for one that never does, Unavailable."""

    def take_dead(self) -> Iterable[tuple[bytes, Callable[[], None]]]:
        """Yield what it gave up delivering, in kombu's form, each with the call that removes it there. Raises Unavailable."""

    def consumers(self, bridge: str, state: RedisAddress) -> Sequence[Callable[[], Consumer]]:
        """Return what opens a consumer of each of its nodes; opening raises Unavailable.

        ``bridge``: who asks. ``state``: where the callbacks go.
        """

    def topics(self) -> Topics:
        """Return its topic exchange. Raises SettingsError if it has none."""

    def close(self) -> None:
        """Close this process's connections; a later call opens new ones."""
