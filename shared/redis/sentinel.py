"""Redis behind Sentinel: ``redis+sentinel://[user:password@]host:port,host:port/<master>/<database>``.

User and password are Redis's own; ``?sentinel_username=...&sentinel_password=...`` are the sentinels'.
``rediss+sentinel://`` speaks TLS to both, and takes redis-py's ``ssl_...`` options in the query. Every new
connection asks the sentinels who is master, so that a client follows a failover by connecting anew.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from deedbox.shared.core.errors import SettingsError

SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")
DEFAULT_PORT: Final = 26379

ASK_TIMEOUT_S: Final = 0.6
"""For all sentinels together: they are asked in turn, and a publish must know within 2 s that it failed."""

_NOT_MASTER: Final = ("READONLY", "UNBLOCKED", "MASTERDOWN", "NOREPLICAS")
"""How a server begins its refusal when it is a replica now, or a master that its replicas have left."""

_SENTINEL_OPTIONS: Final = {"sentinel_username": "username", "sentinel_password": "password"}
_TLS_OPTIONS: Final = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)


@dataclass(frozen=True, slots=True)
class Address:
    """A master by name, and the sentinels that know where it is."""

    nodes: tuple[tuple[str, int], ...]
    master: str
    database: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    sentinel_login: dict[str, str] = field(repr=False)
    tls: dict[str, Any] | None
    """redis-py's ``ssl_...`` options; None: no TLS."""

    @property
    def wait_s(self) -> float:
        """Longest wait for one sentinel to be connected, and to answer."""
        return ASK_TIMEOUT_S / len(self.nodes)

    def sentinel_options(self) -> dict[str, Any]:
        """Return how to connect to a sentinel; without retries, of which ``Redis()`` has seconds by default."""
        encrypted = {"ssl": True, **self.tls} if self.tls is not None else {}
        return {
            "socket_connect_timeout": self.wait_s,
            "socket_timeout": self.wait_s,
            "retry": Retry(NoBackoff(), 0),
            **self.sentinel_login,
            **encrypted,
        }

    def kombu_url(self) -> str:
        """Return kombu's spelling; the master's name goes into its transport options."""
        login = ""
        if self.username or self.password:
            login = f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"
        return ";".join(
            f"sentinel://{login}{_host(host)}:{port}/{self.database}" for host, port in self.nodes
        )

    def kombu_options(self) -> dict[str, Any]:
        """Return what kombu needs to know beside the URL."""
        return {"master_name": self.master, "sentinel_kwargs": self.sentinel_options()}


def is_sentinel(url: str) -> bool:
    """Tell whether a URL names a master by its sentinels."""
    return url.partition("://")[0].lower() in SCHEMES


def parse(url: str, setting: str = "DEEDBOX_REDIS_URL") -> Address:
    """Read a URL. Raises SettingsError that names the setting; the URL is not quoted, it may hold a password."""

    def refuse(why: str) -> NoReturn:
        raise SettingsError(
            f"{setting}: {why}; it looks like redis+sentinel://host:26379,host:26379/mymaster/0."
        )

    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        refuse("this is no redis+sentinel:// URL")
    if ";" in url:
        refuse("one URL names all sentinels, separated by commas, and nothing else may follow it")
    login, _, nodes = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    master, _, database = parts.path.strip("/").partition("/")
    if not master:
        refuse("the name of the master is missing")
    if not (database or "0").isdecimal():
        refuse("the database is no number")
    try:
        found = tuple(_node(text) for text in nodes.split(","))
    except ValueError:
        refuse("a sentinel is not of the form host:port")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    encrypted = parts.scheme.startswith("rediss")
    known = {*_SENTINEL_OPTIONS, *(_TLS_OPTIONS if encrypted else ())}
    if unknown := sorted(set(options) - known):
        refuse(f"{unknown[0]} is no option of it (there are {', '.join(sorted(known))})")
    tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, **_tls(options)} if encrypted else None
    return Address(
        nodes=found,
        master=unquote(master),
        database=int(database or "0"),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_login={_SENTINEL_OPTIONS[name]: value for name, value in options.items() if name in _SENTINEL_OPTIONS},
        tls=tls,
    )  # fmt: skip


def _node(text: str) -> tuple[str, int]:
    """Split ``host:port``, ``host`` or ``[address]:port``. Raises ValueError."""
    parts = urlsplit(f"//{text.strip()}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or DEFAULT_PORT


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tls(options: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    if "ssl_check_hostname" in found:
        found["ssl_check_hostname"] = found["ssl_check_hostname"].lower() in {"1", "true", "yes", "on"}
    return found


class _Follows(SentinelManagedConnection):
    """A connection that follows the master, where redis-py's own does not.

    A server's refusal to be master ends it, and its client retries as after any lost connection. redis-py knows
    one such refusal; a blocking read that a demotion ends, or a script on Redis 6, would reach the caller as an
    error that no retry policy covers, and end an RQ worker.
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
            text = str(error)
            if not text.startswith(_NOT_MASTER) and "-READONLY" not in text:
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise RedisConnectionError(f"the server is not the master ({text.partition(' ')[0]})") from None


class _FollowsEncrypted(_Follows, SentinelManagedSSLConnection):
    """The same over TLS."""


class _Finder(Sentinel):
    """Asks the sentinels; its errors are one line and show no address or password."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            host, port = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except MasterNotFoundError as error:
            refused = "Authentication" in str(error)
            why = "refuse us (sentinel_password)" if refused else "name no running master"
            raise MasterNotFoundError(f"the sentinels {why} for {service_name!r}") from None
        return str(host), int(port)


def client(url: str, **options: Any) -> Redis:
    """Return a client of whoever is master; ``options`` as for ``Redis.from_url``. Raises SettingsError."""
    address = parse(url)
    finder = _Finder(address.nodes, sentinel_kwargs=address.sentinel_options())  # type: ignore[no-untyped-call]
    encrypted = address.tls or {}
    return finder.master_for(  # type: ignore[no-any-return, no-untyped-call]
        address.master,
        db=address.database,
        username=address.username,
        password=address.password,
        connection_class=_Follows if address.tls is None else _FollowsEncrypted,
        **encrypted,
        **options,
    )


def answering(url: str) -> tuple[int, int]:
    """Return how many of the sentinels know the master, and how many there are. Raises SettingsError."""
    address = parse(url)
    return sum(_knows(node, address) for node in address.nodes), len(address.nodes)


def _knows(node: tuple[str, int], address: Address) -> bool:
    with Redis(*node, **address.sentinel_options()) as sentinel:
        try:
            return bool(sentinel.execute_command("SENTINEL", "get-master-addr-by-name", address.master))
        except RedisError:
            return False
