"""Redis behind Sentinel: a client that asks the sentinels who is master, and connects again after a failover."""

from __future__ import annotations

from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, MasterDownError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from deedbox.shared.redis.address import RedisAddress

ASK_TIMEOUT_S: Final = 0.6
"""For all sentinels together: they are asked in turn, and a publish must know within 2 s that it failed."""

_NOT_MASTER: Final = ("UNBLOCKED", "NOREPLICAS")
"""How a server begins those refusals to be master for which redis-py has no class."""


def sentinel_options(address: RedisAddress) -> dict[str, Any]:
    """Return how to connect to a sentinel; without retries, of which ``Redis()`` has seconds by default."""
    wait_s = ASK_TIMEOUT_S / len(address.nodes)
    options: dict[str, Any] = {
        "socket_connect_timeout": wait_s,
        "socket_timeout": wait_s,
        "retry": Retry(NoBackoff(), 0),
        "username": address.sentinel_username,
        "password": address.sentinel_password,
    }
    return options | ({"ssl": True, **address.tls.for_redis()} if address.tls else {})


class _Follows(SentinelManagedConnection):
    """A connection that follows the master, where redis-py's own does not.

    It ends when its server is no master any more, and the client retries as after any lost connection. redis-py
    knows one form of that answer. Two more would reach the caller as an error that no retry policy covers, and end an
    RQ worker: of a blocking read that a demotion ends, and of a script on Redis 6.
    """

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002
        if retry_socket_connect:
            # From the retry of a command: redis-py would try the address of before until all retries are used up
            # (redis/redis-py#3874), and write to the old master if it came back. `connect` asks the sentinels.
            self.connect()  # type: ignore[no-untyped-call]
            return
        super().connect_check_health(check_health, retry_socket_connect)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except ResponseError as error:
            # A script on Redis 6 wraps the refusal of the command in it.
            refused = isinstance(error, ReadOnlyError | MasterDownError) or "-READONLY" in str(error)
            if not refused and not str(error).startswith(_NOT_MASTER):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise RedisConnectionError(f"the server is not the master ({type(error).__name__})") from None


class _FollowsEncrypted(_Follows, SentinelManagedSSLConnection):
    """The same over TLS."""


class _Finder(Sentinel):
    """Asks the sentinels; its errors are one line and show no address or password."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the master of the latest election that any sentinel knows of.

        redis-py takes the first answer. A sentinel that was cut off together with the old master names that one for some
        seconds after it is back, and what is written there then is lost.
        """
        states = [state for each in self.sentinels if (state := _state_at(each, service_name))]
        latest = max((int(state["config-epoch"]) for state in states), default=0)
        for state in states:
            if int(state["config-epoch"]) == latest and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                return str(state["ip"]), int(state["port"])
        why = "refuse us (sentinel_password)" if self._refuse_us() else "name no running master"
        raise MasterNotFoundError(f"the sentinels {why} for {service_name!r}")

    def _refuse_us(self) -> bool:
        """Return whether a sentinel wants another login; redis-py keeps of its errors only the text."""
        for sentinel in self.sentinels:
            try:
                sentinel.ping()
            except AuthenticationError:
                return True
            except RedisError:
                pass
        return False


def _state_at(sentinel: Redis, service_name: str) -> dict[str, Any]:
    """Return what a sentinel knows of a master; nothing if it does not answer or does not know it."""
    try:
        masters: Any = sentinel.sentinel_masters()
    except (RedisConnectionError, RedisTimeoutError):
        return {}
    return dict(masters.get(service_name, {}))


def client(address: RedisAddress, **options: Any) -> Redis:
    """Return a client of the present master; ``options`` as for ``Redis``."""
    finder = _Finder(address.nodes, sentinel_kwargs=sentinel_options(address))  # type: ignore[no-untyped-call]
    return finder.master_for(  # type: ignore[no-any-return, no-untyped-call]
        address.master,
        db=address.database,
        username=address.username,
        password=address.password,
        connection_class=_FollowsEncrypted if address.tls else _Follows,
        **(address.tls.for_redis() if address.tls else {}),
        **options,
    )


def answering(address: RedisAddress) -> tuple[int, int]:
    """Return how many of the sentinels know the master, and how many there are."""
    return sum(_knows(node, address) for node in address.nodes), len(address.nodes)


def _knows(node: tuple[str, int], address: RedisAddress) -> bool:
    with Redis(*node, **sentinel_options(address)) as sentinel:
        try:
            return bool(sentinel.execute_command("SENTINEL", "get-master-addr-by-name", address.master))
        except RedisError:
            return False
