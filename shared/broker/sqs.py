"""Amazon SQS as the broker: what a ``sqs://`` URL says, as kombu's transport options, and our queues.

The URL carries no secret unless you put one there: ``sqs://?region=eu-central-1`` takes credentials from where
every AWS tool takes them (``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, a profile, the machine's role).

========================  ==========================================================================================
``sqs://KEY:SECRET@``     credentials in the URL; percent-encode what is no letter or digit
``sqs://...@HOST:PORT``   another endpoint than Amazon's
``?region=``              region; else ``AWS_REGION``, the profile, or the one in ``queue``
``?queue=``               URL of a queue that exists (percent-encoded): nothing is created or listed
``?visibility_timeout=``  seconds until a callback that a dead bridge held is delivered again (30)
``?tls=off``              plain HTTP, for an endpoint on this machine
========================  ==========================================================================================
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import keys
from deedbox.shared.retention import DAY_S

CONNECT_TIMEOUT_S: Final = 0.5
READ_TIMEOUT_S: Final = 1.2
"""A send takes some 10 ms within a region. Connecting and sending together stay below 2 s."""

POLL_S: Final = 1
"""A receive waits for so long at the broker: cheaper than asking again, and short enough to stop."""

POLL_TIMEOUT_S: Final = POLL_S + 3.0

VISIBILITY_TIMEOUT_S: Final = 30
"""A bridge appends what it received within milliseconds; kombu's default would delay it by half an hour."""

RECEIVES_MAX: Final = 20
"""So often SQS delivers a message without an ack, until it moves it to the dead-letter queue."""

RETENTION_S: Final = 14 * DAY_S
"""The longest that SQS allows. Its default of 4 days would drop callbacks while workers are away."""

_NAMES: Final = str.maketrans({".": "-"})
"""How kombu spells a queue's name for SQS, which allows no dots."""

_OPTIONS: Final = frozenset({"region", "queue", "visibility_timeout", "tls"})

_AMAZON_HOST: Final = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com", re.ASCII)


def queue_name(name: str) -> str:
    """Return the name of a queue as SQS has it."""
    return name.translate(_NAMES)


def split(url: str) -> tuple[str, dict[str, str]]:
    """Part a ``sqs://`` URL into what kombu reads and our options.

    Raises SettingsError for an option that there is not.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise SettingsError(
            f"DEEDBOX_BROKER_URL: {unknown[0]} is no option of a sqs:// URL; "
            f"they are {', '.join(sorted(_OPTIONS))}."
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), options


def transport_options(url: str, *, consuming: bool = False) -> dict[str, Any]:
    """Return kombu's transport options. ``consuming``: waits are long enough for a poll.

    Raises SettingsError.
    """
    _, options = split(url)
    region = options.get("region") or _region_of(options.get("queue", "")) or os.environ.get("AWS_REGION")
    found: dict[str, Any] = {
        "client-config": {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": POLL_TIMEOUT_S if consuming else READ_TIMEOUT_S,
            # botocore counts the first attempt too, and waits between attempts.
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        },
        "wait_time_seconds": POLL_S,
        # The poll itself waits; another pause between polls would only delay.
        "polling_interval": 0,
        "visibility_timeout": _seconds(options.get("visibility_timeout")),
        "is_secure": options.get("tls", "on") != "off",
        # The body is base64 inside kombu's envelope already; a second time costs a third of the size limit.
        "sqs_base64_encoding": False,
    }
    if region:
        found["region"] = region
    if queue := options.get("queue"):
        found["predefined_queues"] = {queue_name(keys.RAW_QUEUE): {"url": queue}}
    return found


def declare(connection: Any, dead_queue: str) -> None:
    """Make sure that the raw queue is there, with a dead-letter queue behind it. Raises botocore's errors.

    Does nothing for a queue that the URL names, or that is there already: its owner decides about it.
    """
    channel = connection.default_channel
    if channel.predefined_queues:
        return
    raw = queue_name(keys.RAW_QUEUE)
    known: dict[str, str] = connection.transport._queue_cache  # noqa: SLF001 - listing lags behind creating
    if raw in known:
        return
    client = channel.sqs()
    known[raw] = _url(client, raw) or _created(channel, raw, queue_name(dead_queue))


def _created(channel: Any, raw: str, dead: str) -> str:
    client = channel.sqs()
    kept = {"MessageRetentionPeriod": str(RETENTION_S)}
    dead_letters = client.create_queue(QueueName=dead, Attributes=kept)["QueueUrl"]
    arn = _attributes(channel, dead_letters)["QueueArn"]
    attributes = {
        "VisibilityTimeout": str(channel.visibility_timeout),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES_MAX}),
    }
    return str(client.create_queue(QueueName=raw, Attributes=kept | attributes)["QueueUrl"])


def errors() -> tuple[type[Exception], ...]:
    """Return what AWS's library raises; nothing where it is not installed."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return ()
    return (BotoCoreError, ClientError)


def demand() -> None:
    """Check that the AWS library is there. Raises SettingsError."""
    if not errors():
        raise SettingsError(
            "DEEDBOX_BROKER_URL names SQS, which needs the extra: pip install 'deedbox[sqs]'."
        )


def _seconds(given: str | None) -> int:
    if given is None:
        return VISIBILITY_TIMEOUT_S
    if not given.isdigit() or not 1 <= int(given) <= DAY_S // 2:
        raise SettingsError(
            "DEEDBOX_BROKER_URL: visibility_timeout is no whole number of seconds from 1 to 43200; correct it."
        )
    return int(given)


def _region_of(queue_url: str) -> str | None:
    found = _AMAZON_HOST.search(queue_url)
    return found.group(1) if found else None


def raw_url(channel: Any) -> str | None:
    """Return the URL of the raw queue; None if there is none. Creates nothing. Raises botocore's errors."""
    raw = queue_name(keys.RAW_QUEUE)
    if raw in channel.predefined_queues:
        return str(channel.predefined_queues[raw]["url"])
    return _url(channel.sqs(), raw)


def dead_url(channel: Any) -> str | None:
    """Return the URL of the queue into which SQS puts what was never acknowledged; None if there is none."""
    url = raw_url(channel)
    policy = json.loads(_attributes(channel, url).get("RedrivePolicy", "{}")) if url else {}
    arn = str(policy.get("deadLetterTargetArn", ""))
    return _url(channel.sqs(), arn.rpartition(":")[2]) if arn else None


def depth(channel: Any, url: str | None) -> int:
    """Return how many messages wait to be delivered, roughly; 0 without a queue."""
    return int(_attributes(channel, url)["ApproximateNumberOfMessages"]) if url else 0


def _attributes(channel: Any, url: str) -> dict[str, str]:
    found: dict[str, str] = channel.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
        "Attributes"
    ]
    return found


def _url(client: Any, name: str) -> str | None:
    try:
        return str(client.get_queue_url(QueueName=name)["QueueUrl"])
    except client.exceptions.QueueDoesNotExist:
        return None
