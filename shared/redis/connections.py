"""Which Redis holds the state, and clients of a Redis with every wait bounded.

redis-py's two constructors differ by default: ``from_url`` never retries, so a worker dies with Redis, and
``Redis()`` hides seconds of retries in the request path. Here each use says what it wants.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from deedbox.shared.core.errors import RedisAway, SettingsError, Unavailable, causes
from deedbox.shared.redis import address, embedded, schema_mark, sentinel
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.settings import Settings

PATIENT_RETRIES: Final = 60
"""With a wait of at most 1 s: a worker lives through a minute without Redis; after that its supervisor
restarts it, which is the right place to be seen."""

CONNECT_TIMEOUT_S: Final = 1.0
SOCKET_TIMEOUT_S: Final = 5.0
"""Longer than any blocking read (BLPOP, BLMOVE: up to 2 s). A server that is frozen, or was cut off, costs this once."""

SHORT_TIMEOUT_S: Final = 2.0

_VANISHED_S: Final = 5
"""How long the other host may leave what was sent unconfirmed, until the kernel ends the connection."""

_KEEPALIVE: Final = {
    "TCP_USER_TIMEOUT": _VANISHED_S * 1000,
    "TCP_KEEPIDLE": 3,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
}


def keepalive() -> dict[int, int]:
    """Return the socket options that end a connection to a host that vanished, idle or not, within about 6 s."""
    return {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}


def redis_address(settings: Settings) -> RedisAddress:
    """Return the address of state and RQ: explicit, or the embedded server's.

    Raises SettingsError if neither is there.
    """
    if settings.redis_url is None:
        return address.parse(embedded.attach_url(settings))
    return address.parse(settings.redis_url.get_secret_value())


class _BetweenTries(ExponentialBackoff):
    """What happens between two tries: the other idle connections are dropped, and a stop is heeded.

    They lead to the same server: without that, each would cost its own time-out when its turn comes.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        super().__init__(cap=1, base=0.1)
        self._stopping = stopping
        self.pool: Any = None

    def __deepcopy__(self, _memo: object) -> Self:
        return self  # redis-py copies its retry policy for every connection; pool and stop are one thing

    def compute(self, failures: int) -> float:
        if self._stopping():
            raise RedisConnectionError("told to stop while Redis was away")
        if failures == 1:
            self.pool.disconnect(inuse_connections=False)
        return super().compute(failures)


def client(where: RedisAddress, **options: Any) -> Redis:
    """Return a client; ``options``: time-outs and retries. Connections to a host that vanishes end by themselves."""
    if where.socket:
        return Redis(
            unix_socket_path=where.socket, db=where.database, username=where.username, password=where.password,
            **options,
        )  # fmt: skip
    options |= {"socket_keepalive": True, "socket_keepalive_options": keepalive()}
    if where.master:
        return sentinel.client(where, **options)
    [(host, port)] = where.nodes
    encryption = {"ssl": True, **where.tls.for_redis()} if where.tls else {}
    return Redis(
        host, port, where.database, username=where.username, password=where.password, **encryption, **options
    )


def patient_redis(where: RedisAddress, stopping: Callable[[], bool] = lambda: False) -> Redis:
    """Return a client for workers: it waits through restarts and failovers of Redis (``PATIENT_RETRIES``).

    ``stopping`` ends the waiting.
    """
    between = _BetweenTries(stopping)
    found = client(
        where,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(between, PATIENT_RETRIES),
        # A full Redis refuses a command, or a script before its first write: nothing was done, and room may come back.
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OutOfMemoryError],
    )
    between.pool = found.connection_pool
    return found


def brisk_redis(where: RedisAddress, timeout_s: float = SHORT_TIMEOUT_S) -> Redis:
    """Return a client for commands and pages: it fails within seconds, so that a person gets an answer.

    A connection that the server closed is opened again; a time-out is not tried a second time.
    """
    return client(
        where,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )


def demand(redis: Redis, setting: str = "DEEDBOX_REDIS_URL", patience_s: float = 0.0) -> None:
    """Check that Redis answers, is no cluster, can be read, and never drops keys. Raises SettingsError with one sentence.

    ``patience_s``: how long a Redis that does not answer is waited for; it may be starting beside us.
    """
    try:
        _ping(redis, patience_s)
        demand_no_cluster(redis, setting)
        demand_readable(redis, setting)
        policy = redis.info("memory").get("maxmemory_policy", "noeviction")
    except NoPermissionError:
        return  # a user who may not call INFO; `deedbox check` says so
    except AuthenticationError as error:
        raise SettingsError(f"{setting}: Redis refused ({_brief(error)}); check user and password.") from None
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise SettingsError(
            f"{setting}: Redis does not answer ({_brief(error)}); check the address and that it runs."
        ) from None
    except RedisError as error:
        raise SettingsError(f"{setting}: Redis refused ({_brief(error)}); check the address.") from None
    if policy != "noeviction":
        raise SettingsError(
            f"{setting}: this Redis drops keys when it is full (maxmemory-policy {policy}), which would lose "
            "callbacks; set maxmemory-policy noeviction, or use another Redis."
        )


def demand_no_cluster(redis: Redis, setting: str) -> None:
    """Check that a Redis is not in cluster mode. Raises SettingsError, redis-py's errors."""
    if int(redis.info("cluster").get("cluster_enabled", 0)):
        raise SettingsError(
            f"{setting}: this Redis is in cluster mode, which Deedbox cannot use: its scripts need all keys on one "
            "server; use a Redis with cluster-enabled no, several of them behind Sentinel."
        )


def demand_readable(redis: Redis, setting: str) -> None:
    """Check that this version can read what is stored there, and mark a new store. Raises SettingsError, redis-py's errors."""
    try:
        trouble = schema_mark.trouble(redis)
    except ResponseError as error:
        if not is_of_wrong_type(error):
            raise
        trouble = None  # the sweeper moves such a key away
    if trouble is not None:
        raise SettingsError(
            f"{setting}: {trouble}; nothing was changed: let that version finish it, or use an empty Redis database."
        )
    schema_mark.write(redis)


def _ping(redis: Redis, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            redis.ping()
        except AuthenticationError:
            raise
        except (RedisConnectionError, RedisTimeoutError):
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
        else:
            return


def _brief(error: Exception) -> str:
    """Shorten a client's error to one line; redis-py's messages name host and port, never the password."""
    if isinstance(error, AuthenticationError):  # redis-py quotes a whole sentence about HELLO
        return "it does not accept the user or password"
    return str(error).splitlines()[0].rstrip(".")[:160] if str(error) else type(error).__name__


def is_of_wrong_type(error: BaseException) -> bool:
    """Return whether it is about a key of another Redis type than ours, or caused by one. Redis says so in its text only."""
    return any(
        isinstance(each, ResponseError) and "WRONGTYPE" in str(each) for each in (error, *causes(error))
    )


def translated(error: Exception) -> Unavailable:
    """Wrap a client library's error for callers that must not know the library."""
    if isinstance(error, RedisTimeoutError):
        return RedisAway("timed out")
    if isinstance(error, RedisConnectionError) and not isinstance(error, AuthenticationError):
        cause = error.__cause__ or error.__context__
        errno = isinstance(cause, OSError) and cause.strerror
        return RedisAway(errno.lower() if errno else _brief(error))
    return Unavailable(f"Redis refused ({_brief(error)}); `deedbox check` shows details.")


@contextmanager
def translating() -> Iterator[None]:
    """Wrap what the client library raises inside a block, or inside a function as its decorator; see ``translated``."""
    try:
        yield
    except RedisError as error:
        raise translated(error) from error
