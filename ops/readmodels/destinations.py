"""Destinations: what waits for each, and how the attempts to deliver went. Each one is an action named ``deliver.<name>``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

from deedbox.ops.readmodels import timeline
from deedbox.ops.readmodels.stages import Survey, WaitingHead
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.routing import DELIVERING

_ATTEMPTS: Final = frozenset({TimelineKind.ACTION, TimelineKind.RETRY, TimelineKind.DEAD})


@dataclass(frozen=True, slots=True)
class DestinationView:
    """One destination now."""

    name: str
    lane: str
    waiting: int
    """Messages that wait or are being sent."""
    paused: bool
    head: WaitingHead | None = None
    """The message that has waited longest to be tried again, if one could not be delivered."""
    trouble: str = ""
    """What the last attempt of that message met."""


@dataclass(slots=True)
class Deliveries:
    """What one request's timeline says of one destination."""

    name: str
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    """Timeline entries, the oldest first."""

    @property
    def last(self) -> Mapping[str, Any]:
        """The latest attempt."""
        return self.attempts[-1]


def read(redis: Redis, found: Survey) -> list[DestinationView]:
    """Return every declared destination, by name. Raises Unavailable."""
    paused = {each.target.field for each in found.pauses}
    heads = {head.action: head for head in found.heads_of(DELIVERING)}
    return [
        DestinationView(
            action.removeprefix(DELIVERING), lane.name, found.depths.get(action, 0),
            paused=not paused.isdisjoint({f"action|{action}", f"lane|{lane.name}"}),
            head=heads.get(action), trouble=_trouble(redis, heads.get(action)),
        )
        for lane in found.lanes
        for action in lane.actions
        if action.startswith(DELIVERING)
    ]  # fmt: skip


def _trouble(redis: Redis, head: WaitingHead | None) -> str:
    return next(iter(timeline.reasons(redis, head.stream, head.action, 1)), "") if head else ""


def deliveries(entries: Iterable[Mapping[str, Any]]) -> list[Deliveries]:
    """Group the attempts of a timeline by destination, in the order of their first attempt."""
    found: dict[str, Deliveries] = {}
    for entry in entries:
        action = str(entry.get("action", ""))
        if action.startswith(DELIVERING) and entry.get("kind") in _ATTEMPTS:
            name = action.removeprefix(DELIVERING)
            found.setdefault(name, Deliveries(name)).attempts.append(entry)
    return list(found.values())
