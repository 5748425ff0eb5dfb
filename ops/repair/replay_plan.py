"""What a replay is asked for, what it would do, and what it did: plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from deedbox.ops.readmodels.timeline import key_of
from deedbox.ops.repair.history import PastEvent
from deedbox.shared.core.ordering import Position
from deedbox.shared.core.routing import matches
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.subscriptions import Subscription


@dataclass(slots=True)
class ReplayPlan:
    """What a replay would do; nothing is changed yet."""

    order: ReplayOrder
    actions: tuple[Subscription, ...]
    number: int = 0
    """Of the replay that is resumed; 0 for a new one."""
    streams: list[str] = field(default_factory=list)
    """Streams with something to do."""
    events: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    """Calls by action."""
    waiting: Counter[str] = field(default_factory=Counter)
    """Entries by action that wait in the queues already; they come first."""
    late: int = 0
    """Events that a later event of their stream was released before."""
    expired: int = 0
    held: int = 0
    aside: int = 0
    erased: int = 0
    """Streams that were erased."""
    first_at: float | None = None
    last_at: float | None = None

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "requests": len(self.streams),
            "events": self.events,
            "runs": {action.name: self.runs[action.name] for action in self.actions},
            "waiting": {action.name: self.waiting[action.name] for action in self.actions},
            "late": self.late,
            "expired": self.expired,
            "held": self.held,
            "set_aside": self.aside,
            "erased": self.erased,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


@dataclass(slots=True)
class ReplayTally:
    """What a replay did."""

    number: int
    appended: int = 0
    """Calls that were queued."""
    gone: int = 0
    """Events that expired since the plan."""
    erased: int = 0
    """Streams that were erased since the plan."""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def order_of(
    actions: Iterable[str], request: str, source: str, pattern: str, times: tuple[float, float]
) -> ReplayOrder:
    """Return what a person asks for: one request, of the default source if none is named, or all of a span of time."""
    return ReplayOrder(
        actions=tuple(dict.fromkeys(actions)), span=ReplaySpan(*times),
        source=source or ("default" if request else ""), key=key_of(request), pattern=pattern,
    )  # fmt: skip


def is_late(event: PastEvent, greatest: Position | None) -> bool:
    """Return whether a later event has been released. Internal events have no place in the order."""
    return greatest is not None and not event.internal and greatest > event.position


def wanted(
    plan: ReplayPlan, events: Iterable[PastEvent], done: Position | None
) -> Iterator[tuple[PastEvent, list[Subscription]]]:
    """Pair the events behind ``done`` with the chosen actions that subscribe to them."""
    pattern = plan.order.pattern
    for event in events:
        if done is not None and event.position <= done:
            continue
        if pattern and not matches(pattern, event.type):
            continue
        actions = [action for action in plan.actions if action.wants(event.type)]
        if actions:
            yield event, actions
