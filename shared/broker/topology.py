"""The broker as ingress (publishes) and the bridge (consumes) see it: one queue, and bounded waits.

kombu's defaults wait 6 s for a refused port and for ever on a frozen Redis; a callback must be answered within
seconds. So the same short policy goes into the transport options (they rule connecting) and into each publish.
"""

from __future__ import annotations

import ssl
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import kombu

from deedbox.shared.broker import sqs
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import keys, sentinel

DEAD_QUEUE: Final = keys.RAW_QUEUE + ".dead"
"""Where RabbitMQ puts a message that was delivered ``DELIVERY_LIMIT`` times without an ack."""

DELIVERY_LIMIT: Final = 20
"""RabbitMQ 4 has this limit even when none is set, and drops what exceeds it unless there is a dead-letter queue."""

CONNECT_TIMEOUT_S: Final = 0.5
REDIS_TIMEOUT_S: Final = 1.0
"""One command, ``appendfsync always`` included, takes milliseconds; a second means a frozen server."""

AMQP_TIMEOUT_S: Final = 0.6
"""Read, write and confirm, each. A publish waits for at most two of them."""

_REDIS_TRANSPORTS: Final = frozenset({"redis", "rediss"})
_AMQP_TRANSPORTS: Final = frozenset({"amqp", "amqps", "pyamqp"})
_SQS_TRANSPORT: Final = "sqs"


def _urls(url: str) -> list[str]:
    """Split a broker URL that may name several brokers."""
    return [part.strip() for part in url.split(";") if part.strip()]


def transport(url: str) -> str:
    """Return kombu's name of the transport of a broker URL (of the first, if there are several).

    Raises SettingsError for text that is no URL; the text may hold a password, so it is not quoted.
    """
    first = next(iter(_urls(url)), "")
    scheme, separator, _ = first.partition("://")
    if not separator or not scheme:
        raise SettingsError(
            "DEEDBOX_BROKER_URL is not a URL like redis://host or amqp://host; correct it or unset it."
        )
    return "redis" if scheme == "unix" else scheme.partition("+")[0].lower()


def is_redis(url: str) -> bool:
    """Tell whether the broker is a Redis: the bridge then reads the list itself."""
    return transport(url) in _REDIS_TRANSPORTS


def is_amqp(url: str) -> bool:
    """Tell whether the broker speaks AMQP: quorum queues and publisher confirms."""
    return transport(url) in _AMQP_TRANSPORTS


def is_sqs(url: str) -> bool:
    """Tell whether the broker is Amazon SQS."""
    return transport(url) == _SQS_TRANSPORT


CONNECT_RETRIES_TIMEOUT_S: Final = 1.2
"""After this long no further URL of a list is tried; without it kombu gives up after the first silent one."""


def retry_policy(url: str) -> dict[str, float]:
    """Return how often one operation is tried, for the transport options and for every publish alike.

    AMQP needs one retry, or the first publish after the broker closed an idle connection fails. Redis needs
    none (redis-py replaces closed sockets itself), and one would triple the wait for a frozen server. Each
    further URL needs one, which is how kombu moves on to it.
    """
    retries = len(_urls(url)) - 1 + (1 if is_amqp(url) else 0)
    return {"max_retries": retries, "interval_start": 0, "interval_step": 0.05, "interval_max": 0.1}


def transport_options(url: str, *, consuming: bool = False) -> dict[str, Any]:
    """Return the transport options that bound every wait; several URLs share the time of one.

    ``consuming``: SQS is asked to wait for messages, and must be given the time. Raises SettingsError.
    """
    share = len(_urls(url))
    policy = retry_policy(url)
    if share > 1:
        policy["connect_retries_timeout"] = CONNECT_RETRIES_TIMEOUT_S
    if is_amqp(url):
        wait_s = AMQP_TIMEOUT_S / share
        return {**policy, "confirm_publish": True, "read_timeout": wait_s, "write_timeout": wait_s}
    if is_redis(url):
        return {
            **policy,
            "socket_connect_timeout": CONNECT_TIMEOUT_S / share,
            "socket_timeout": REDIS_TIMEOUT_S / share,
            "socket_keepalive": True,
            # A check before a command would wait its own second on a frozen server; the command is check enough.
            "health_check_interval": 0,
            # One list for all priorities: the depth of the queue is one LLEN.
            "priority_steps": [0],
        }
    if is_sqs(url):
        return {**policy, **sqs.transport_options(_urls(url)[0], consuming=consuming)}
    return dict(policy)


def confirm_timeout_s(url: str) -> float | None:
    """Return the longest wait (seconds) for a publisher confirm; None where there are none."""
    return AMQP_TIMEOUT_S / len(_urls(url)) if is_amqp(url) else None


def _sentinels(address: sentinel.Address) -> kombu.Connection:
    """Return a connection that asks the sentinels for the master; every wait is bounded as with one server."""
    return kombu.Connection(
        address.kombu_url(),
        connect_timeout=CONNECT_TIMEOUT_S,
        ssl=address.tls or False,
        # kombu would take the sentinels for brokers of which each may be tried; they are asked in one try.
        transport_options={**transport_options("redis://"), **address.kombu_options()},
    )


def _tls(url: str) -> dict[str, Any] | bool:
    """Verify the broker's certificate: kombu's own default does not, for either transport.

    ``ssl_...`` in the query of a ``rediss://`` URL overrides it.
    """
    name = transport(url)
    if name == "rediss":
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if name == "amqps":
        # A server_hostname of None makes kombu fill in the host of the URL in use.
        return {"cert_reqs": ssl.CERT_REQUIRED, "check_hostname": True, "server_hostname": None}
    return False


def _kombu_url(url: str) -> str:
    """Translate what kombu spells differently: redis-py's ``unix://``, and the options of a ``sqs://`` URL."""
    if is_sqs(url):
        return sqs.split(url)[0]
    if not url.startswith("unix://"):
        return url
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def connect(url: str, *, consuming: bool = False) -> kombu.Connection:
    """Return a connection to the broker, not yet opened. Several URLs, ``;``-separated, are tried in turn.

    ``consuming``: for a bridge. Raises SettingsError for a URL that cannot be one.
    """
    if sentinel.is_sentinel(url):
        return _sentinels(sentinel.parse(url, "DEEDBOX_BROKER_URL"))
    if is_sqs(url):
        sqs.demand()
    return kombu.Connection(
        ";".join(_kombu_url(part) for part in _urls(url)),
        connect_timeout=CONNECT_TIMEOUT_S / max(1, len(_urls(url))),
        ssl=_tls(url),
        transport_options=transport_options(url, consuming=consuming),
    )


def _quorum(**more: object) -> dict[str, object]:
    return {"x-queue-type": "quorum", **more}


def raw_queue(transport_name: str) -> kombu.Queue:
    """Return the queue of raw callbacks, on the default exchange: a named one costs Redis a second command.

    On AMQP a quorum queue that refuses when full and keeps what it gives up on.
    """
    arguments = None
    if transport_name in _AMQP_TRANSPORTS:
        arguments = _quorum(
            **{
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": DEAD_QUEUE,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        )
    return _queue(keys.RAW_QUEUE, arguments)


def dead_queue() -> kombu.Queue:
    """Return RabbitMQ's dead-letter queue of the raw queue."""
    return _queue(DEAD_QUEUE, _quorum())


def _queue(name: str, arguments: dict[str, object] | None) -> kombu.Queue:
    return kombu.Queue(name, kombu.Exchange(""), routing_key=name, durable=True, queue_arguments=arguments)


def declare(connection: kombu.Connection) -> None:
    """Declare the queues on the connection's default channel; on Redis there is nothing to declare.

    AMQP: the dead-letter queue first, so that the raw queue never points nowhere. Raises kombu's errors; with
    other arguments than an existing queue's, RabbitMQ closes the channel (PRECONDITION_FAILED).
    """
    name = str(connection.transport.driver_type)
    if name == "redis":
        return
    if name == _SQS_TRANSPORT:
        sqs.declare(connection, DEAD_QUEUE)
        return
    channel = connection.default_channel
    if name == "amqp":
        dead_queue()(channel).queue_declare()
    raw_queue(name)(channel).queue_declare()
