"""The address of a broker, read once: every client of it is built from this value.

A Redis is ``deedbox.shared.redis.address``. RabbitMQ is ``amqp://[user:password@]host[:5672][/vhost]``, or ``amqps://`` with the
parameters of ``deedbox.shared.tls``; several nodes, separated by ``;``, are each a whole URL. SQS:

========================  ==========================================================================================
``sqs://KEY:SECRET@``     credentials in the URL; without them they come from where every AWS tool takes them
                          (``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, a profile, the machine's role)
``sqs://...@HOST:PORT``   another endpoint than Amazon's
``?region=``              region; else ``AWS_REGION``, the profile, or the one in ``queue``
``?queue=``               URL of a queue that exists (percent-encoded): nothing is created or listed
``?visibility_timeout=``  seconds until a callback that a dead bridge held is delivered again (30)
``?tls=off``              plain HTTP, for an endpoint on this machine
========================  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from deedbox.shared import tls
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import address as redis_address
from deedbox.shared.redis.address import RedisAddress, demand_known, node, shown
from deedbox.shared.retention import DAY_S
from deedbox.shared.tls import Tls

AMQP_PORT: Final = 5672
AMQPS_PORT: Final = 5671
VISIBILITY_TIMEOUT_S: Final = 30
"""A bridge appends what it received within milliseconds; kombu's default would delay it by half an hour."""

_SQS_OPTIONS: Final = frozenset({"region", "queue", "visibility_timeout", "tls"})
_FORMS: Final = "redis://, rediss://, redis+sentinel://, amqp://, amqps:// or sqs://"


@dataclass(frozen=True, slots=True)
class AmqpNode:
    """One RabbitMQ."""

    host: str
    port: int
    username: str = field(default="guest", repr=False)
    password: str = field(default="guest", repr=False)
    vhost: str = "/"

    def url(self) -> str:
        """Return kombu's spelling; a secret."""
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        return f"amqp://{login}@{shown(self.host)}:{self.port}/{quote(self.vhost, safe='')}"


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """A RabbitMQ, or several nodes: each is published to when the ones before do not answer, and all are consumed."""

    nodes: tuple[AmqpNode, ...]
    tls: Tls | None = None
    setting: str = field(default="DEEDBOX_BROKER_URL", compare=False)

    def __str__(self) -> str:
        """Show where it is, without user and password."""
        scheme = "amqps" if self.tls else "amqp"
        return ", ".join(f"{scheme}://{shown(each.host)}:{each.port}/{each.vhost}" for each in self.nodes)

    def alone(self) -> tuple[AmqpAddress, ...]:
        """Return each node as a separate address."""
        return tuple(AmqpAddress((each,), self.tls, self.setting) for each in self.nodes)


@dataclass(frozen=True, slots=True)
class SqsAddress:
    """Amazon SQS, or what speaks like it."""

    host: str = ""
    """The endpoint; empty: Amazon's."""
    port: int | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    region: str = ""
    queue: str = ""
    visibility_timeout_s: int = VISIBILITY_TIMEOUT_S
    encrypted: bool = True
    setting: str = field(default="DEEDBOX_BROKER_URL", compare=False)

    def __str__(self) -> str:
        """Show where it is, without credentials."""
        return f"sqs://{shown(self.host)}" + (f":{self.port}" if self.port else "")


BrokerAddress = RedisAddress | AmqpAddress | SqsAddress


def parse(url: str, setting: str = "DEEDBOX_BROKER_URL") -> BrokerAddress:
    """Read a URL. Raises SettingsError that names the setting; the URL is not quoted, it may hold a password."""
    scheme = url.strip().partition("://")[0].lower()
    if scheme in redis_address.SCHEMES:
        return redis_address.parse(url, setting)
    try:
        if scheme in {"amqp", "amqps"}:
            return _amqp(url, setting)
        if scheme == "sqs":
            return _sqs(url, setting)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}.") from None
    if scheme == "sentinel":
        raise SettingsError(
            f"{setting}: write redis+sentinel://host:26379,host:26379/mymaster/0 for Redis behind Sentinel."
        )
    if scheme.startswith("redis+"):
        raise SettingsError(f"{setting}: write unix:///path?db=0 for the socket of a Redis.")
    raise SettingsError(f"{setting} is not a URL like {_FORMS}; correct it or unset it.")


def _amqp(url: str, setting: str) -> AmqpAddress:
    found = [_amqp_node(part.strip()) for part in url.split(";") if part.strip()]
    if len({encryption for _, encryption in found}) > 1:
        raise ValueError(
            "all nodes of a list must be reached the same way: amqp:// or amqps://, one set of parameters"
        )
    return AmqpAddress(tuple(each for each, _ in found), found[0][1], setting)


def _amqp_node(url: str) -> tuple[AmqpNode, Tls | None]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in {"amqp", "amqps"}:
        raise ValueError("each node of a list is a whole amqp:// or amqps:// URL")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    demand_known(parts, options, tls.OPTIONS if scheme == "amqps" else frozenset())
    login, _, host = parts.netloc.rpartition("@")
    if "," in host:
        raise ValueError("several nodes are separated by ;, and each is a whole URL")
    username, _, password = login.partition(":")
    name, port = node(host or "localhost", AMQPS_PORT if scheme == "amqps" else AMQP_PORT)
    found = AmqpNode(
        name,
        port,
        unquote(username) if login else "guest",
        unquote(password) if login else "guest",
        unquote(parts.path.removeprefix("/")) or "/",
    )
    return found, tls.parse(options) if scheme == "amqps" else None


def _sqs(url: str, setting: str) -> SqsAddress:
    parts = urlsplit(url.strip())
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    demand_known(parts, options, _SQS_OPTIONS)
    if ";" in url or parts.path.strip("/"):
        raise ValueError("a sqs:// URL has no path and no list; ?queue= names a queue")
    if options.get("tls", "on") not in {"on", "off"}:
        raise ValueError("tls is neither on nor off")
    timeout = options.get("visibility_timeout", str(VISIBILITY_TIMEOUT_S))
    if not timeout.isdecimal() or not 1 <= int(timeout) <= DAY_S // 2:
        raise ValueError("visibility_timeout is no whole number of seconds from 1 to 43200")
    login, _, host = parts.netloc.rpartition("@")
    key, _, secret = login.partition(":")
    name, port = node(host, 0) if host else ("", 0)
    return SqsAddress(
        name,
        port or None,
        unquote(key) or None,
        unquote(secret) or None,
        options.get("region", ""),
        options.get("queue", ""),
        int(timeout),
        options.get("tls", "on") == "on",
        setting,
    )
