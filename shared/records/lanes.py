"""What workers have announced in Redis: the lanes, which actions each has, and since when.

Sweepers, pages and repairs know lanes from here. Of an action that a deployment moved to another lane, the
newest announcement counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.core import jsontext
from deedbox.shared.records.fields import Unreadable, guarded, many, number, row, words
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text

FORM: Final = "lane announcement"


@dataclass(frozen=True, slots=True)
class AnnouncedLane:
    """One announced lane."""

    actions: tuple[str, ...]
    seen_at: float
    """Unix seconds of the last announcement."""

    def dump(self) -> bytes:
        """Return its text."""
        return jsontext.dumps({"actions": list(self.actions), "seen_at": self.seen_at})

    @classmethod
    def load(cls, data: bytes) -> Self | Unreadable:
        """Rebuild the announcement."""
        return guarded(FORM, data, cls._read)

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        return cls(many(found["actions"], words), number(found["seen_at"]))


def announced(redis: Redis) -> dict[str, AnnouncedLane]:
    """Return the announced lanes by name. Raises Unavailable."""
    try:
        rows: Mapping[Any, Any] = redis.hgetall(keys.LANES)
    except RedisError as error:
        raise translated(error) from error
    # One that cannot be read is a lane all the same: what waits in it is looked after, and the next worker of the lane
    # announces it anew.
    return {text(name): AnnouncedLane.load(packed) or AnnouncedLane((), 0.0) for name, packed in rows.items()}


def lanes_of_actions(lanes: Mapping[str, AnnouncedLane]) -> dict[str, str]:
    """Return the lane that each announced action has now. Pure."""
    newest: dict[str, str] = {}
    for name, lane in sorted(lanes.items(), key=lambda item: item[1].seen_at):
        newest |= dict.fromkeys(lane.actions, name)
    return newest
