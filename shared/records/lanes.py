"""What workers have announced in Redis: the lanes, which actions each has, and since when.

Sweepers, pages and repairs know lanes from here. Of an action that a deployment moved to another lane, the
newest announcement counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text


@dataclass(frozen=True, slots=True)
class Lane:
    """One announced lane."""

    actions: tuple[str, ...]
    seen_at: float
    """Unix seconds of the last announcement."""


def announced(redis: Redis) -> dict[str, Lane]:
    """Return the announced lanes by name. Raises Unavailable."""
    try:
        rows: Mapping[Any, Any] = redis.hgetall(keys.LANES)
    except RedisError as error:
        raise translated(error) from error
    lanes = {}
    for name, value in rows.items():
        row = json.loads(value)
        lanes[text(name)] = Lane(tuple(row.get("actions", ())), float(row.get("seen_at", 0)))
    return lanes


def lanes_of_actions(lanes: Mapping[str, Lane]) -> dict[str, str]:
    """Return the lane that each announced action has now. Pure."""
    newest: dict[str, str] = {}
    for name, lane in sorted(lanes.items(), key=lambda item: item[1].seen_at):
        newest |= dict.fromkeys(lane.actions, name)
    return newest
