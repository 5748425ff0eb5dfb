"""Calls that no process will run: their action is declared by no module any more. Pure.

Every process that starts announces all lanes that it knows at one moment, so the newest announcement shows what is
declared now. A lane with a living worker counts too: the hosts of a deployment need not start in one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deedbox.shared.records.lanes import AnnouncedLane
from deedbox.shared.redis import keys


@dataclass(frozen=True, slots=True)
class UnknownCalls:
    """Calls of one action that nothing declares."""

    action: str
    lane: str
    requests: int
    """Requests (or other keys) with such calls, among those that were looked at."""
    oldest_s: float
    """How long the oldest of them has waited."""
    more: bool = False
    """There may be more: only a part was looked at."""


def unused(announced: Mapping[str, AnnouncedLane], staffed: Iterable[str]) -> frozenset[str]:
    """Return the lanes that no declared action names."""
    newest = max((each.seen_at for each in announced.values()), default=0.0)
    kept = {keys.SEQUENCER, *staffed}
    # A time of 0 is that of an announcement that cannot be read.
    return frozenset(
        name for name, each in announced.items() if 0 < each.seen_at < newest and name not in kept
    )


def unknown(
    announced: Mapping[str, AnnouncedLane],
    unused_lanes: frozenset[str],
    sample: Iterable[tuple[str, str, float]],
    cut: frozenset[str],
) -> list[UnknownCalls]:
    """Return the actions of the sampled units that no lane in use declares.

    ``sample``: lane, unit, and for how long it has waited (seconds). ``cut``: lanes that were looked at in part.
    """
    declared = {
        action for name, each in announced.items() if name not in unused_lanes for action in each.actions
    }
    if not announced:
        return []  # nothing was announced yet: what is declared is not known
    return list(_counted(declared, sample, cut))


def _counted(
    declared: set[str], sample: Iterable[tuple[str, str, float]], cut: frozenset[str]
) -> Iterator[UnknownCalls]:
    found: dict[tuple[str, str], list[float]] = {}
    for lane, unit, age_s in sample:
        action, bar, _ = unit.partition("|")
        if bar and action not in declared:
            found.setdefault((action, lane), []).append(age_s)
    for (action, lane), ages in sorted(found.items()):
        yield UnknownCalls(action, lane, len(ages), max(ages), more=lane in cut)
