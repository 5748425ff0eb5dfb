"""What is subscribed, as the newest declaration of the workers says: which actions there are, for which types, in which lane.

``subscriptions``. A lane is only the pool of processes that works an action off, and a label of the action here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from redis import Redis

from deedbox.shared.core import fields
from deedbox.shared.core.fields import count_of
from deedbox.shared.core.routing import matches, unit_of
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating

FORM: Final = "subscriptions"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One declared action."""

    name: str
    types: tuple[str, ...]
    """Patterns of event types."""
    lane: str
    ordered: bool = True
    rate: tuple[int, int] | None = None
    """Calls at most, in any window of so many seconds."""
    concurrency: int | None = None
    """Calls at most at a time."""

    def wants(self, event_type: str) -> bool:
        """Return whether events of a type go to it."""
        return any(matches(pattern, event_type) for pattern in self.types)

    def unit(self, stream: str, fingerprint: str) -> str:
        """Name the unit of work that an event belongs to."""
        return unit_of(self.name, stream, fingerprint, ordered=self.ordered)


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """A declaration. Generation 0: there has been none."""

    actions: tuple[Subscription, ...] = ()
    generation: int = 0

    @property
    def lanes(self) -> dict[str, tuple[str, ...]]:
        """Each lane and its actions, in order of declaration."""
        found: dict[str, tuple[str, ...]] = {}
        for action in self.actions:
            found[action.lane] = (*found.get(action.lane, ()), action.name)
        return found

    @property
    def lane_of(self) -> dict[str, str]:
        """The lane of each action."""
        return {action.name: action.lane for action in self.actions}

    def undeclared(self, depths: Mapping[str, int]) -> dict[str, int]:
        """Return the actions that have entries and are not declared any more, with their entries."""
        known = self.lane_of
        return {name: depth for name, depth in sorted(depths.items()) if depth > 0 and name not in known}

    def dump(self) -> str:
        """Return the actions as they are stored; scripts read this."""
        rows = [asdict(action) for action in self.actions]
        kept = [{k: v for k, v in each.items() if v is not None} for each in rows]
        return json.dumps(kept, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """What tells this declaration from another one."""
        return hashlib.blake2b(self.dump().encode(), digest_size=8).hexdigest()

    @classmethod
    def of(cls, described: Iterable[Mapping[str, Any]]) -> Self:
        """Build the declaration of a registry, from what its ``describe`` returns."""
        rows = sorted(described, key=lambda row: row["name"])
        return cls(tuple(_described(each) for each in rows))


def _described(described: Mapping[str, Any]) -> Subscription:
    rate = described["rate"]
    return Subscription(
        described["name"], tuple(described["types"]), described["lane"], described["ordered"],
        None if rate is None else (rate[0], rate[1]), described["concurrency"],
    )  # fmt: skip


def load(stored: Mapping[bytes, bytes]) -> Subscriptions | fields.Unreadable:
    """Read the hash; an empty one is generation 0."""
    if not stored:
        return Subscriptions()

    def read(rows: object) -> Subscriptions:
        return Subscriptions(fields.many(rows, _subscription), count_of(stored.get(b"generation")))

    return fields.guarded(FORM, stored.get(b"actions", b""), read)


def _subscription(value: object) -> Subscription:
    row = fields.row(value)
    rate = fields.many(row["rate"], fields.natural) if "rate" in row else None
    if rate is not None and len(rate) != 2:  # noqa: PLR2004 - calls and window
        raise ValueError
    return Subscription(
        fields.words(row["name"]), fields.many(row["types"], fields.words), fields.words(row["lane"]),
        fields.flag(row["ordered"]), None if rate is None else (rate[0], rate[1]),
        fields.natural(row["concurrency"]) if "concurrency" in row else None,
    )  # fmt: skip


def announced(redis: Redis) -> Subscriptions:
    """Read what is subscribed; nothing, if it cannot be read: the next announcement writes it again. Raises Unavailable."""
    with translating():
        found: Any = redis.hgetall(keys.SUBSCRIPTIONS)
    return load(found) or Subscriptions()
