"""The state's Redis, for the threads beside the requests: best effort, never on the request path."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.redis.connections import brisk_redis, redis_address
from deedbox.shared.redis.replicas import ReplicatedScripts
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.settings import Settings


class StateRedis:
    """A connection that is made when it is first needed. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis: Redis | None = None
        self._scripts: Scripts | None = None
        self._durable: Scripts | None = None

    def client(self) -> Redis:
        """Return the client; the address is read again until there is one: the embedded server starts later.

        Raises Unavailable.
        """
        if self._redis is None:
            try:
                self._redis = brisk_redis(redis_address(self._settings))
            except (SettingsError, RedisError) as error:
                raise Unavailable(str(error)) from None
        return self._redis

    def scripts(self) -> Scripts:
        """Return the scripts, for what may be lost in a failover. Raises Unavailable."""
        if self._scripts is None:
            self._scripts = Scripts(self.client())
        return self._scripts

    def durable(self) -> Scripts:
        """Return the scripts, for what must be on the replicas too when a call returns. Raises Unavailable."""
        if self._durable is None:
            self._durable = ReplicatedScripts(self.client(), self._settings.redis_wait_replicas)
        return self._durable
