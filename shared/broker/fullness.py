"""How full a Redis is, and when ingress must stop filling it: a decision without a clock or I/O.

Redis with ``noeviction`` refuses writes when it is full, and then refuses them to the workers too, who would empty
it. So callbacks stay in the spool while there is still room for the workers to work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

FULL_FROM: Final = 0.80
"""Of maxmemory. What is left is for the workers: what leaves the raw list lies in the inbox and in the state first."""

ROOM_BELOW: Final = 0.70
"""Ingress publishes again below this: the distance keeps it from changing its mind with every batch."""


def fullness(info: Mapping[str, Any]) -> float | None:
    """Return used memory as a share of maxmemory, from ``INFO memory``; None if there is no maxmemory."""
    limit = int(info.get("maxmemory", 0))
    return int(info.get("used_memory", 0)) / limit if limit > 0 else None


@dataclass(frozen=True, slots=True)
class RoomPolicy:
    """When a Redis counts as full, and when it has room again."""

    full_from: float = FULL_FROM
    room_below: float = ROOM_BELOW

    def is_full(self, share: float | None, *, was_full: bool) -> bool:
        """Decide from the share in use (None: no limit) and from the last decision."""
        if share is None:
            return False
        return share >= (self.room_below if was_full else self.full_from)
