"""Hands a callback to the broker, and returns only when the broker has it.

Every wait is bounded, so that a broker that is down, slow or silent costs a request about a second. A publish
that timed out is *unknown*, not undelivered: the broker may still take it. Whoever tries again relies on the
fingerprint downstream to merge the two.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import kombu
from kombu.pools import ProducerPool

from deedbox.ingress.publish.amqp_confirms import publish_all
from deedbox.shared.broker import topology
from deedbox.shared.broker.errors import RefusedForCause, cause, refuses_for_cause
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.room import fullness
from deedbox.shared.redis import keys, replicas

ACQUIRE_TIMEOUT_S: Final = 0.3
"""Longest wait for a producer. With as many producers as threads nobody waits."""

DEFAULT_LIMIT: Final = 64
"""Producers per process when the number of threads is not known; they are made when first needed."""

SPREAD: Final = 16
"""Publishers side by side for many envelopes where each is answered alone (SQS)."""

_CLIENT: Final = "deedbox_client"
_DECLARED: Final = "deedbox.topology"
"""Mark in a connection's set of declared entities, which kombu empties whenever it connects anew."""


class Publisher:
    """Publishes envelopes to the raw queue; safe for threads, and may be built before a fork.

    Connections open on first use and belong to the process that opened them: an AMQP connection inherited
    through ``fork`` would hang parent and child alike. The pool is our own, not kombu's global one, whose
    limit is a setting of the application that we may be mounted in.
    """

    def __init__(self, url: str, limit: int = DEFAULT_LIMIT, wait_replicas: int = 0) -> None:
        """``url``: kombu's broker URL(s). ``limit``: producers per process, at least the number of threads.

        ``wait_replicas``: DEEDBOX_REDIS_WAIT_REPLICAS; other brokers than Redis replicate by themselves. Raises
        SettingsError for a URL that cannot be one.
        """
        topology.connect(url)  # opens nothing yet
        self._url = url
        self._limit = limit
        self._amqp = topology.is_amqp(url)
        self._wait_replicas = wait_replicas if topology.is_redis(url) else 0
        self._policy = topology.retry_policy(url)
        self._confirm_timeout_s = topology.confirm_timeout_s(url)
        self._lock = threading.Lock()
        self._pool: ProducerPool | None = None
        self._slots = threading.BoundedSemaphore(limit)
        self._pid = -1

    @property
    def takes_many_at_once(self) -> bool:
        """Whether many envelopes cost the broker about as much as one: Redis takes them in one command."""
        return topology.is_redis(self._url)

    def publish(self, envelope: Envelope) -> None:
        """Publish one envelope; on return the broker has confirmed it.

        Raises Unavailable within 2 s for every state of the broker; the envelope may then have arrived or not.
        Raises RefusedForCause if the broker is well and this envelope is the trouble.
        """
        with self._producer() as producer:
            if topology.is_redis(self._url):
                self._push(producer, [envelope], replicas.PUBLISH_WAIT_S)
            else:
                self._send(producer, envelope)

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        """Publish several envelopes, in order where the transport allows; on return the broker has confirmed all.

        Raises Unavailable; any of them may then have arrived. Redis takes all in one command, with one fsync;
        RabbitMQ gets all and confirms them together.
        """
        if not envelopes:
            return
        if self._amqp:
            with self._producer() as producer:
                self._declare_once(producer.__connection__)
                publish_all(producer.__connection__, envelopes, self._confirm_timeout_s or 0.0)
            return
        if not topology.is_redis(self._url):
            with ThreadPoolExecutor(min(SPREAD, self._limit)) as pool:
                for _ in pool.map(self.publish, envelopes):
                    pass
            return
        with self._producer() as producer:
            self._push(producer, envelopes, replicas.BATCH_WAIT_S)

    def _push(self, producer: Any, envelopes: Sequence[Envelope], wait_s: float) -> None:
        """Put envelopes on Redis's list in one command, and wait until the replicas have it.

        What kombu's channel would do with the default exchange, on the channel's own client, but for the message,
        which is as short as kombu's consumers allow. And only the connection of the write can tell of the replicas.
        """
        messages = [encode_kombu(envelope.headers(), envelope.body) for envelope in envelopes]
        # Not kombu's own batch: Redis reads a pipeline in pieces of 16 KiB and fsyncs after each of them.
        pipe = _client(producer.channel).pipeline(transaction=False)
        pipe.lpush(keys.RAW_QUEUE, *messages)
        replicas.execute(pipe, self._wait_replicas, wait_s)

    def _send(self, producer: Any, envelope: Envelope) -> None:
        self._declare_once(producer.__connection__)
        producer.publish(
            envelope.body,
            exchange="",
            routing_key=keys.RAW_QUEUE,
            headers=envelope.headers(),
            content_type="application/octet-stream",
            content_encoding="binary",
            delivery_mode="persistent",
            retry=True,
            # A copy: kombu writes the policy of a call into the connection's options. The same values are
            # there already, because other ones would change how the next connect behaves.
            retry_policy=dict(self._policy),
            # A publish to a queue that is gone is confirmed all the same; only `mandatory` tells.
            mandatory=self._amqp,
            confirm_timeout=self._confirm_timeout_s,
        )

    def ping(self) -> None:
        """Check that the broker can be reached, with a connection of its own. Raises Unavailable within 2 s.

        Not one of the pool's: readiness must not depend on how busy this process is.
        """
        connection = topology.connect(self._url)
        try:
            topology.declare(connection)
            channel = connection.default_channel
            if self._wait_replicas:
                with channel.conn_or_acquire() as client:
                    replicas.demand(client, self._wait_replicas)
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            raise Unavailable(f"the broker cannot be reached ({cause(error)})") from None
        finally:
            connection.collect()

    def fullness(self) -> float | None:
        """Return the share of maxmemory that the broker's Redis uses; None without a limit, or for another broker.

        Raises Unavailable within 2 s.
        """
        if not topology.is_redis(self._url):
            return None
        with self._producer() as producer:
            return fullness(_client(producer.channel).info("memory"))

    def close(self) -> None:
        """Close this process's connections; a later publish opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
            if pool is not None and self._pid == os.getpid():
                pool.force_close_all()
                pool.connections.force_close_all()

    @contextmanager
    def _producer(self) -> Iterator[Any]:
        """Lend a producer. Whatever goes wrong with it becomes Unavailable, and its connection is discarded.

        Discarded always: py-amqp takes any ack for the confirm that it waits for, so on a connection whose
        confirm timed out, the late ack would confirm the next message, which the broker may have refused.
        """
        pool, slots = self._pools()
        # kombu's pool waits for a connection without a limit once more threads ask than it has.
        if not slots.acquire(timeout=ACQUIRE_TIMEOUT_S):
            raise Unavailable("all connections to the broker are busy")
        try:
            producer = pool.acquire(block=True, timeout=ACQUIRE_TIMEOUT_S)
            try:
                yield producer
            except Exception:
                producer.__connection__.collect()
                raise
            finally:
                producer.release()
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            if refuses_for_cause(error):
                raise RefusedForCause(f"the broker refuses this callback ({cause(error)})") from None
            raise Unavailable(f"the broker did not confirm ({cause(error)})") from None
        finally:
            slots.release()

    def _pools(self) -> tuple[ProducerPool, threading.BoundedSemaphore]:
        if self._pid != os.getpid() or self._pool is None:
            with self._lock:
                if self._pid != os.getpid() or self._pool is None:
                    connections = topology.connect(self._url).Pool(limit=self._limit)
                    self._slots = threading.BoundedSemaphore(self._limit)
                    self._pool = ProducerPool(connections, limit=self._limit)
                    self._pid = os.getpid()
        return self._pool, self._slots

    def _declare_once(self, connection: kombu.Connection) -> None:
        """Declare the queues on a connection's first publish: AMQP loses what it cannot route.

        And kombu would make a queue on SQS without a dead-letter queue.
        """
        if topology.is_redis(self._url) or _DECLARED in connection.declared_entities:
            return
        topology.declare(connection)
        connection.declared_entities.add(_DECLARED)


def _client(channel: Any) -> Any:
    """Return the redis-py client of a channel of kombu's. Kept there: kombu makes a new one for every command."""
    client = getattr(channel, _CLIENT, None)
    if client is None:
        with channel.conn_or_acquire() as client:
            setattr(channel, _CLIENT, client)
    return client
