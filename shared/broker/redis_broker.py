"""A Redis as the broker: kombu's list, pushed to in batches, and claimed by a script.

Publishing goes through kombu's own connection and its channel's client. kombu's consumer is not used: it pops first and
records second, and loses what it held when it is killed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import quote

import kombu
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from deedbox.shared.broker.errors import cause
from deedbox.shared.broker.fullness import fullness
from deedbox.shared.broker.lending import DEFAULT_LIMIT, Connections, Lent
from deedbox.shared.broker.message import decode_kombu, encode_kombu
from deedbox.shared.broker.port import BrokerLook, Consumer, RedisServer, Topics
from deedbox.shared.broker.redis_consumer import RedisConsumer
from deedbox.shared.broker.topics import RedisTopics
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError, Unavailable, Undecodable
from deedbox.shared.redis import keys, replicas, sentinel
from deedbox.shared.redis.address import RedisAddress, shown
from deedbox.shared.redis.connections import (
    SOCKET_TIMEOUT_S,
    brisk_redis,
    demand_no_cluster,
    keepalive,
)
from deedbox.shared.redis.scripting import Scripts, text

CONNECT_TIMEOUT_S: Final = 0.5
TIMEOUT_S: Final = 1.0
"""One command, ``appendfsync always`` included, takes milliseconds; a second means a frozen server."""

BRIDGES_MAX: Final = 200
"""Bridge ids that are looked at. An id stays known for a day, so restarts add up; the newest come first."""


class RedisBroker:
    """One Redis."""

    name = "redis"

    def __init__(self, address: RedisAddress, limit: int = DEFAULT_LIMIT, wait_replicas: int = 0) -> None:
        """``wait_replicas``: how many replicas must have a callback before it counts as published."""
        self.address = address
        self._wait_replicas = wait_replicas
        self._connections = Connections(self.connection, limit)

    @cached_property
    def server(self) -> RedisServer:
        """The Redis."""
        return RedisServer(brisk_redis(self.address), self.address)

    def connection(self) -> kombu.Connection:
        """Return a connection of kombu's, not opened yet."""
        where = self.address
        options: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": TIMEOUT_S,
            "socket_keepalive": True,
            "socket_keepalive_options": keepalive(),
            # A check before a command would wait its own second on a frozen server; the command is check enough.
            "health_check_interval": 0,
            # One list for all priorities: the depth of the queue is one LLEN.
            "priority_steps": [0],
            # None: redis-py replaces closed sockets itself, and a retry would double the wait for a frozen server.
            "max_retries": 0,
            "interval_start": 0,
        }
        shape: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "transport_options": options}
        if where.tls:
            shape["ssl"] = where.tls.for_redis()
        if where.socket:
            url = f"redis+socket://{self._login()}{quote(where.socket)}?virtual_host={where.database}"
            return kombu.Connection(url, **shape)
        if where.master:
            options |= {"master_name": where.master, "sentinel_kwargs": sentinel.sentinel_options(where)}
            nodes = (
                f"sentinel://{self._login()}{shown(host)}:{port}/{where.database}"
                for host, port in where.nodes
            )
            return kombu.Connection(";".join(nodes), **shape)
        [(host, port)] = where.nodes
        return kombu.Connection(
            host, where.username, where.password, str(where.database), port, transport="redis", **shape
        )

    def _login(self) -> str:
        where = self.address
        if not (where.username or where.password):
            return ""
        return f"{quote(where.username or '', safe='')}:{quote(where.password or '', safe='')}@"

    def publish(self, envelope: Envelope) -> None:
        self._connections.use(partial(self._push, [envelope], replicas.PUBLISH_WAIT_S))

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        if envelopes:
            self._connections.use(partial(self._push, envelopes, replicas.BATCH_WAIT_S))

    def _push(self, envelopes: Sequence[Envelope], wait_s: float, lent: Lent) -> None:
        """Put envelopes on the list in one command, and wait until the replicas have it.

        What kombu's channel would do with the default exchange, on the channel's own client, but for the message,
        which is as short as kombu's consumers allow. And only the connection of the write can ask the replicas.
        """
        # Not kombu's own batch: Redis reads a pipeline in pieces of 16 KiB and fsyncs after each of them.
        pipe = self._client(lent).pipeline(transaction=False)
        pipe.lpush(keys.RAW_QUEUE, *_messages(envelopes))
        replicas.execute(pipe, self._wait_replicas, wait_s)

    def line(self) -> RedisLine | None:
        """Return a connection for an event loop, which waits for nothing but an answer; None: for replicas, too."""
        if self._wait_replicas:
            return None
        connection = self.connection()
        try:
            pool = self._client(Lent(connection, 0.0)).connection_pool
            return RedisLine(connection, pool.get_connection())
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            connection.collect()
            raise Unavailable(cause(error)) from None

    def ping(self) -> None:
        connection = self.connection()
        try:
            replicas.demand(self._client(Lent(connection, 0.0)), self._wait_replicas)
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            why = str(error) if isinstance(error, Unavailable) else cause(error)
            raise Unavailable(f"the broker cannot be reached ({why})") from None
        finally:
            connection.collect()

    def fullness(self) -> float | None:
        return self._connections.use(lambda lent: fullness(self._client(lent).info("memory")))

    def demand(self) -> None:
        try:
            demand_no_cluster(self.server.client, self.address.setting)
        except RedisError:
            return  # not there yet, or not allowed to say: the first publish finds out

    def _client(self, lent: Lent) -> Any:
        """Return the redis-py client of a connection of kombu's. Kept: kombu makes a new one for every command."""
        found = lent.kept.get("client")
        if found is None:
            with lent.connection.default_channel.conn_or_acquire() as found:
                self._demand_no_cluster(found)
                lent.kept["client"] = found
        return found

    def _demand_no_cluster(self, redis: Redis) -> None:
        """Give nothing to a server that turned out to be in cluster mode: no worker could read it. Raises Unavailable."""
        try:
            demand_no_cluster(redis, self.address.setting)
        except SettingsError as error:
            raise Unavailable(str(error)) from None
        except NoPermissionError:
            pass  # a user who may not call INFO

    def look(self) -> BrokerLook:
        try:
            return _look(self.server.client)
        except RedisError as error:
            raise Unavailable(type(error).__name__) from None

    def dead_depth(self) -> int:
        self.take_dead()
        return 0

    def take_dead(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        raise SettingsError("The broker is a Redis, which gives up on nothing: it has no dead-letter queue.")

    def consumers(self, bridge: str, state: RedisAddress) -> Sequence[Callable[[], Consumer]]:
        same = state == self.address
        return [
            lambda: RedisConsumer(
                Scripts(brisk_redis(self.address, SOCKET_TIMEOUT_S)), bridge, same_redis=same
            )
        ]

    def topics(self) -> Topics:
        return RedisTopics(Connections(self.connection, 2), self._client, self._wait_replicas)

    def close(self) -> None:
        self._connections.close()


class RedisLine:
    """A connection of kombu's channel, on which an event loop publishes: one command at a time."""

    def __init__(self, connection: kombu.Connection, wire: Any) -> None:
        """``wire``: redis-py's connection of the channel."""
        self._connection = connection
        self._wire = wire
        self.descriptor: int = wire._get_socket().fileno()  # noqa: SLF001 - an event loop needs it

    def send(self, envelopes: Sequence[Envelope]) -> None:
        command = self._wire.pack_command("LPUSH", keys.RAW_QUEUE, *_messages(envelopes))
        self._wire.send_packed_command(command, check_health=False)

    def is_answered(self) -> bool:
        if not self._wire.can_read(0):
            return False
        if not isinstance(self._wire.read_response(), int):
            raise RedisError("no answer to LPUSH")
        return True

    def close(self) -> None:
        self._wire.disconnect()
        self._connection.collect()


def _messages(envelopes: Sequence[Envelope]) -> list[bytes]:
    return [encode_kombu(envelope.headers(), envelope.body) for envelope in envelopes]


def _look(redis: Redis) -> BrokerLook:
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.llen(keys.RAW_QUEUE)
    pipe.lindex(keys.RAW_QUEUE, -1)
    pipe.zrange(keys.BRIDGE_LEASES, 0, BRIDGES_MAX - 1, desc=True)
    (seconds, microseconds), depth, oldest, bridges = pipe.execute()
    now = seconds + microseconds / 1_000_000
    for bridge in bridges:
        pipe.llen(keys.claimed(text(bridge)))
        pipe.lindex(keys.claimed(text(bridge)), -1)
    replies = pipe.execute() if bridges else []
    ages = [age for message in replies[1::2] if (age := _age_s(message, now)) is not None]
    return BrokerLook(depth, _age_s(oldest, now), sum(replies[::2]), max(ages, default=None))


def _age_s(message: bytes | None, now: float) -> float | None:
    """Tell how long ago ingress took a message. Its clock, not Redis's: a few milliseconds may be missing."""
    if message is None:
        return None
    try:
        received_at = float(decode_kombu(message)[0]["received_at"])
    except (Undecodable, KeyError, TypeError, ValueError):
        return None
    return round(max(0.0, now - received_at), 3)
