"""What waits in the broker, and what a bridge has claimed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.readmodels.broker_queues import BrokerQueues
from deedbox.ops.readmodels.stages import Stage
from deedbox.shared.broker import topology
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text

BRIDGES_MAX: Final = 200
"""Bridge ids that are looked at. An id stays known for a day, so restarts add up; the newest come first."""


@dataclass(frozen=True, slots=True)
class BrokerView:
    """The stages before the inbox. A broker that does not answer is a finding here, not an error."""

    broker: Stage
    claimed: Stage
    bridge_alive: bool | None
    """None: this broker does not tell."""
    trouble: str = ""
    """Why the broker did not answer."""
    bridges: int | None = None
    """How many live; None: this broker does not tell."""
    dead_letters: int = 0
    """What the broker itself gave up delivering: in RabbitMQ's or SQS's dead-letter queue."""


def look_at_redis(redis: Redis) -> BrokerView:
    """Look at a broker that is a Redis."""
    try:
        return _look_at_redis(redis)
    except RedisError as error:
        return BrokerView(Stage(None), Stage(None), bridge_alive=None, trouble=type(error).__name__)


def _look_at_redis(redis: Redis) -> BrokerView:
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.llen(keys.RAW_QUEUE)
    pipe.lindex(keys.RAW_QUEUE, -1)
    pipe.zrange(keys.BRIDGE_LEASES, 0, BRIDGES_MAX - 1, desc=True, withscores=True)
    (seconds, microseconds), depth, oldest, leases = pipe.execute()
    now = seconds + microseconds / 1_000_000
    for bridge, _ in leases:
        pipe.llen(keys.claimed(text(bridge)))
        pipe.lindex(keys.claimed(text(bridge)), -1)
    replies = pipe.execute() if leases else []
    ages = [age for message in replies[1::2] if (age := _age_s(message, now)) is not None]
    return BrokerView(
        Stage(depth, _age_s(oldest, now)),
        Stage(sum(replies[::2]), max(ages, default=None)),
        bridge_alive=any(until > now for _, until in leases),
        bridges=sum(until > now for _, until in leases),
    )


def look_at_kombu(url: str) -> BrokerView:
    """Look at any other broker: it counts its messages but does not tell their age, nor who takes them."""
    connection: Any = topology.connect(url)
    try:
        queues = BrokerQueues(connection)
        stage, dead, trouble = Stage(queues.raw_depth()), queues.dead_depth(), ""
    except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
        stage, dead, trouble = Stage(None), 0, type(error).__name__
    finally:
        connection.collect()
    return BrokerView(stage, Stage(0), bridge_alive=None, trouble=trouble, dead_letters=dead)


def living_bridges(state: Redis) -> int:
    """Count the bridges of another broker than Redis: they say so in the state's Redis. Raises Unavailable."""
    pipe = state.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(keys.BRIDGE_LEASES, 0, -1, withscores=True)
    try:
        (seconds, microseconds), leases = pipe.execute()
    except RedisError as error:
        raise translated(error) from error
    return sum(until > seconds + microseconds / 1_000_000 for _, until in leases)


def _age_s(message: bytes | None, now: float) -> float | None:
    """Tell how long ago ingress took a message. Its clock, not Redis's: a few milliseconds may be missing."""
    if message is None:
        return None
    try:
        received_at = float(decode_kombu(message)[0]["received_at"])
    except (Undecodable, KeyError, TypeError, ValueError):
        return None
    return round(max(0.0, now - received_at), 3)
