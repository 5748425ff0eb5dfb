"""The address of a Redis, read once: every client, redis-py's and kombu's, is built from this value.

==================================================  ================================================================
``redis://[user:password@]host[:6379][/database]``  one server
``rediss://...``                                    the same over TLS (``deedbox.shared.tls`` has the parameters)
``unix://[user:password@]/path[?db=database]``      one server on this machine
``redis+sentinel://...host:26379,host:26379/name``  the master of that name; ``/name/database``; user and password are
                                                    Redis's own, ``?sentinel_username=&sentinel_password=`` the
                                                    sentinels'; ``rediss+sentinel://`` speaks TLS to both
==================================================  ================================================================

No other parameter is known: what one library would take and another would not is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from deedbox.shared import tls
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.tls import Tls

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")

_HOSTS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)(.*)", re.DOTALL)
_LOGIN_OPTIONS: Final = frozenset({"sentinel_username", "sentinel_password"})
_SENTINELS: Final = "Redis servers that stand in for each other need Sentinel: redis+sentinel://host:26379,host:26379/mymaster"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One Redis: a server, a socket, or a master by name and the sentinels that know where it is."""

    nodes: tuple[tuple[str, int], ...]
    """The server, or the sentinels; empty for a socket."""
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    socket: str = ""
    """Path of the socket; empty for a server."""
    master: str = ""
    """The master's name; empty without sentinels."""
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    setting: str = field(default="DEEDBOX_REDIS_URL", compare=False)
    """Where it comes from, for messages."""

    @property
    def place(self) -> str:
        """Hosts and ports, or the path of the socket."""
        return self.socket or ",".join(f"{shown(host)}:{port}" for host, port in self.nodes)

    def __str__(self) -> str:
        """Show where it is, without user and password."""
        secure, hosts = "s" if self.tls else "", self.place
        if self.socket:
            return f"unix://{self.socket}" + (f"?db={self.database}" if self.database else "")
        if self.master:
            return f"redis{secure}+sentinel://{hosts}/{self.master}/{self.database}"
        return f"redis{secure}://{hosts}/{self.database}"


def shown(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def parse(url: str, setting: str = "DEEDBOX_REDIS_URL") -> RedisAddress:
    """Read a URL. Raises SettingsError that names the setting; the URL is not quoted, it may hold a password."""

    def refuse(why: str) -> NoReturn:
        raise SettingsError(f"{setting}: {why}.")

    if ";" in url:
        refuse(f"a list of Redis servers, separated by ;, is no address; {_SENTINELS}")
    try:
        parts = _split(url.strip())
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        refuse("this is no usable URL; it looks like redis://user:password@host:6379/0")
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        refuse("this is no redis://, rediss://, unix:// or redis+sentinel:// URL")
    try:
        demand_known(parts, options, _known(scheme))
        return _read(parts, scheme, options, setting)
    except ValueError as error:
        refuse(str(error))


def _split(url: str) -> SplitResult:
    """Split a URL that may list several hosts. Raises ValueError.

    Python's own function refuses an IPv6 address behind a comma, in the latest releases of each line; ``node`` reads each host.
    """
    found = _HOSTS.fullmatch(url)
    if found is None:
        return urlsplit(url)
    return urlsplit(found[1] + found[3])._replace(netloc=found[2])


def demand_known(parts: SplitResult, options: dict[str, str], known: frozenset[str]) -> None:
    """Refuse parameters that there are not: what one library would take, another would not. Raises ValueError."""
    if parts.fragment or "@" in parts.query:  # nothing of it is quoted: it is the rest of a password
        raise ValueError("it has a # or ? in its login; percent-encode them (%23, %3F)")
    there = f"there are {', '.join(sorted(known))}" if known else "there are none"
    for name in options:
        if name not in known:
            raise ValueError(f"{name!r:.40} is no parameter of a {parts.scheme}:// URL ({there})")


def _known(scheme: str) -> frozenset[str]:
    if scheme == "unix":
        return frozenset({"db"})
    login = _LOGIN_OPTIONS if scheme.endswith("+sentinel") else frozenset()
    return login | (tls.OPTIONS if scheme.startswith("rediss") else frozenset())


def _read(parts: SplitResult, scheme: str, options: dict[str, str], setting: str) -> RedisAddress:
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    encryption = tls.parse(options) if scheme.startswith("rediss") else None
    place, database, master = "", parts.path.strip("/"), ""
    if scheme == "unix":
        if hosts or not parts.path:
            raise ValueError("the path of the socket is missing; it looks like unix:///run/redis.sock")
        place, database = unquote(parts.path), options.get("db", "")
    elif scheme.endswith("+sentinel"):
        master, _, database = parts.path.strip("/").partition("/")
        if not master:
            raise ValueError(
                "the name of the master is missing; it looks like redis+sentinel://host:26379/mymaster/0"
            )
    elif "," in hosts:
        raise ValueError(f"a list of Redis servers, separated by commas, is no address; {_SENTINELS}")
    if not (database or "0").isdecimal():
        raise ValueError("the database, which is the path, is no number")
    return RedisAddress(
        nodes=() if place else tuple(node(text, SENTINEL_PORT if master else PORT) for text in (hosts or "localhost").split(",")),
        database=int(database or "0"),
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=encryption,
        socket=place,
        master=unquote(master),
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        setting=setting,
    )  # fmt: skip


def node(text: str, port: int) -> tuple[str, int]:
    """Split ``host:port``, ``host`` or ``[address]:port``. Raises ValueError."""
    wrong = ValueError("the server is not of the form host:port")
    try:
        parts = urlsplit(f"//{text.strip()}")
        found = parts.port
    except ValueError:
        raise wrong from None
    if not parts.hostname or parts.path or parts.query:
        raise wrong
    return parts.hostname, port if found is None else found
