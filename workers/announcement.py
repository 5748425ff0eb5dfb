"""Workers announce their lanes in Redis, and what waits for an action in an old lane follows it to its new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.records.lanes import AnnouncedLane, lanes_of_actions
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.workers.actions.registry import Registry

LOOK_AT_MOST: Final = 1000
"""Units of an old lane that one look moves: the rest follows at the next one."""


def announce(redis: Redis, registry: Registry, now: float) -> None:
    """Announce every lane of a registry. Raises RedisError."""
    described = registry.describe()
    for lane in registry.lanes:
        actions = tuple(row["name"] for row in described if row["lane"] == lane)
        redis.hset(keys.LANES, lane, AnnouncedLane(actions, round(now, 3)).dump())


def moves(lanes: Mapping[str, AnnouncedLane]) -> Iterator[tuple[str, str, str]]:
    """Yield (action, old lane, new lane) for actions that an older announcement has elsewhere. Pure."""
    newest = lanes_of_actions(lanes)
    for name, lane in lanes.items():
        for action in lane.actions:
            if newest[action] != name and lane.seen_at < lanes[newest[action]].seen_at:
                yield action, name, newest[action]


def follow_moves(scripts: Scripts, lanes: Mapping[str, AnnouncedLane]) -> tuple[str, ...]:
    """Move what waits for moved actions to their new lanes. Returns the lanes to ring. Raises Unavailable."""
    ring = [
        new
        for action, old, new in moves(lanes)
        for unit in _waiting(scripts.redis, old, action)
        if scripts.call("move_unit", SERVER_CLOCK, unit, old, new)
    ]
    return tuple(dict.fromkeys(ring))


def _waiting(redis: Redis, lane: str, action: str) -> list[bytes]:
    try:
        units: list[Any] = []
        for part in ("ready", "waiting"):
            units += redis.zrange(keys.lane(lane, part), 0, LOOK_AT_MOST - 1)
    except RedisError as error:
        raise translated(error) from error
    return [unit for unit in units if unit.startswith(f"{action}|".encode())]
