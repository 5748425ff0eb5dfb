"""Which Redis and which broker, and clients for them with every wait bounded.

redis-py's two constructors differ by default: ``from_url`` never retries, so a worker dies with Redis, and
``Redis()`` hides seconds of retries in the request path. Here each use says what it wants.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Self

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from deedbox.shared.core.errors import RedisAway, SettingsError, Unavailable
from deedbox.shared.redis import embedded, sentinel
from deedbox.shared.settings import Settings

PATIENT_RETRIES: Final = 60
"""With a wait of at most 1 s: a worker lives through a minute without Redis; after that its supervisor
restarts it, which is the right place to be seen."""

CONNECT_TIMEOUT_S: Final = 2.0
SOCKET_TIMEOUT_S: Final = 15.0
"""Longer than any blocking read (BLPOP, BLMOVE: seconds), shorter than a person's patience."""

SHORT_TIMEOUT_S: Final = 2.0


def redis_url(settings: Settings) -> str:
    """Return the URL of state and RQ: explicit, or the embedded server's.

    Raises SettingsError if neither is there.
    """
    if settings.redis_url is None:
        return embedded.attach_url(settings)
    url = settings.redis_url.get_secret_value()
    if sentinel.is_sentinel(url):
        sentinel.parse(url, "DEEDBOX_REDIS_URL")
    elif not url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError(
            "DEEDBOX_REDIS_URL is not a redis://, rediss:// or redis+sentinel:// URL; correct it or unset it."
        )
    return url


def broker_url(settings: Settings) -> str:
    """Return the broker's kombu URL, or Sentinel URL: explicit, or the Redis URL. Raises SettingsError."""
    if settings.broker_url is None:
        return redis_url(settings)
    url = settings.broker_url.get_secret_value()
    if sentinel.is_sentinel(url):
        sentinel.parse(url, "DEEDBOX_BROKER_URL")
    elif url.startswith("sentinel://"):
        # kombu's own form would make the bridge use kombu's consumer, which loses callbacks when it is killed.
        raise SettingsError(
            "DEEDBOX_BROKER_URL: write redis+sentinel://host:26379,host:26379/mymaster/0 for Redis behind Sentinel."
        )
    return url


def events_url(settings: Settings) -> str:
    """Return the URL of the broker that ``publish_event`` publishes to. Raises SettingsError."""
    if settings.events_url is None:
        return broker_url(settings)
    url = settings.events_url.get_secret_value()
    if sentinel.is_sentinel(url):
        sentinel.parse(url, "DEEDBOX_EVENTS_URL")
    elif "://" not in url:
        raise SettingsError(
            "DEEDBOX_EVENTS_URL is not a URL like amqp://host or redis://host; correct it or unset it."
        )
    return url


class _StoppableBackoff(ExponentialBackoff):
    """Stops waiting when the process was told to stop: an outage must not keep it alive for a minute."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        super().__init__(cap=1, base=0.1)
        self._stopping = stopping

    def __deepcopy__(self, _memo: object) -> Self:
        return self  # redis-py copies its retry policy for every connection; what tells to stop is one thing

    def compute(self, failures: int) -> float:
        if self._stopping():
            raise RedisConnectionError("told to stop while Redis was away")
        return super().compute(failures)


def _client(url: str, **options: Any) -> Redis:
    return sentinel.client(url, **options) if sentinel.is_sentinel(url) else Redis.from_url(url, **options)


def patient_redis(url: str, stopping: Callable[[], bool] = lambda: False) -> Redis:
    """Return a client for workers: it waits through restarts and failovers of Redis (``PATIENT_RETRIES``).

    ``stopping`` ends the waiting.
    """
    return _client(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(_StoppableBackoff(stopping), PATIENT_RETRIES),
        # A full Redis refuses a command, or a script before its first write: nothing was done, and room may come back.
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OutOfMemoryError],
    )


def brisk_redis(url: str) -> Redis:
    """Return a client for commands and pages: it fails within seconds, so that a person gets an answer."""
    return _client(
        url,
        socket_connect_timeout=SHORT_TIMEOUT_S,
        socket_timeout=SHORT_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
    )


def demand(redis: Redis, setting: str = "DEEDBOX_REDIS_URL", patience_s: float = 0.0) -> None:
    """Check that Redis answers and never drops keys. Raises SettingsError with one sentence.

    ``patience_s``: how long a Redis that does not answer is waited for; it may be starting beside us.
    """
    try:
        _ping(redis, patience_s)
        policy = redis.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise SettingsError(
            f"{setting}: Redis does not answer ({_brief(error)}); check the address and that it runs."
        ) from None
    except RedisError as error:
        # Managed services forbid CONFIG; the eviction policy is then in their console, and `deedbox check` says so.
        if "unknown command" in str(error).lower() or "noperm" in str(error).lower():
            return
        raise SettingsError(f"{setting}: Redis refused ({_brief(error)}); check user and password.") from None
    if policy != "noeviction":
        raise SettingsError(
            f"{setting}: this Redis drops keys when it is full (maxmemory-policy {policy}), which would lose "
            "callbacks; set maxmemory-policy noeviction, or use another Redis."
        )


def _ping(redis: Redis, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            redis.ping()
        except (RedisConnectionError, RedisTimeoutError):
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
        else:
            return


def _brief(error: Exception) -> str:
    """Shorten a client's error to one line; redis-py's messages name host and port, never the password."""
    return str(error).splitlines()[0].rstrip(".")[:160] if str(error) else type(error).__name__


def translated(error: Exception) -> Unavailable:
    """Wrap a client library's error for callers that must not know the library."""
    if isinstance(error, RedisTimeoutError):
        return RedisAway("timed out")
    if isinstance(error, RedisConnectionError) and not isinstance(error, AuthenticationError):
        cause = error.__cause__ or error.__context__
        errno = isinstance(cause, OSError) and cause.strerror
        return RedisAway(errno.lower() if errno else _brief(error))
    return Unavailable(f"Redis refused ({_brief(error)}); `deedbox check` shows details.")
