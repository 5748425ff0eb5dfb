"""What waits in the broker, and what a bridge has claimed of it."""

from __future__ import annotations

from dataclasses import dataclass

from redis import Redis

from deedbox.ops.readmodels.stages import Stage
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating


@dataclass(frozen=True, slots=True)
class BrokerView:
    """The stages before the inbox. A broker that does not answer is a finding here, not an error."""

    broker: Stage
    claimed: Stage
    bridges: int
    """How many live."""
    trouble: str = ""
    """Why the broker did not answer."""
    dead_letters: int = 0
    """What the broker itself gave up delivering: in RabbitMQ's or SQS's dead-letter queue."""


def view(broker: Broker, state: Redis) -> BrokerView:
    """Look at the broker and its bridges. Raises Unavailable if the state's Redis does not answer."""
    bridges = living_bridges(state)
    try:
        seen = broker.look()
    except Unavailable as error:
        return BrokerView(Stage(None), Stage(None), bridges, str(error))
    return BrokerView(
        Stage(seen.depth, seen.oldest_age_s),
        Stage(seen.claimed, seen.claimed_age_s),
        bridges,
        dead_letters=seen.dead,
    )


@translating()
def living_bridges(state: Redis) -> int:
    """Count the bridges: they say so in the state's Redis. Raises Unavailable."""
    pipe = state.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(keys.BRIDGE_LEASES, 0, -1, withscores=True)
    (seconds, microseconds), leases = pipe.execute()
    return sum(until > seconds + microseconds / 1_000_000 for _, until in leases)
