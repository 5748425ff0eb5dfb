"""What a policy's releases were worth: inversions of event_time, and added latency."""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, NamedTuple, Self

from tests.bench.ordering.policies import Release


class Inversions(NamedTuple):
    """How far from the order of event_time. Events of the same second are never inverted."""

    pairs: int
    """Pairs of events released the wrong way round."""
    events: int
    """Events released after one with a later event_time."""


def inversions(event_times: Iterable[int]) -> Inversions:
    """Count inversions of one request's events, in the order of their release."""
    pairs = events = 0
    before: list[int] = []
    for event_time in event_times:
        later = len(before) - bisect_right(before, event_time)
        pairs += later
        events += later > 0
        insort(before, event_time)
    return Inversions(pairs, events)


def behind(releases: Sequence[Release]) -> int:
    """Count events released behind a greater position: causes of the same second count here, too."""
    count = 0
    greatest = None
    for each in releases:
        if greatest is not None and each.position < greatest:
            count += 1
        else:
            greatest = each.position
    return count


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the values that at least this share of them does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """One policy on one traffic. Times in seconds, rates per 1,000 released events."""

    released: int
    inverted: float
    """Events after one with a later event_time."""
    inverted_pairs: float
    behind: float
    """Events behind a greater position."""
    mean_s: float
    p50_s: float
    p99_s: float
    max_s: float
    held_share: float
    """Of the events: those that were released later than they arrived."""

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


class Tally:
    """Adds up one policy's releases over any number of requests."""

    def __init__(self) -> None:
        self._events = self._pairs = self._behind = 0
        self._added = array("d")

    def add(self, releases: Sequence[Release]) -> None:
        """Add one request's releases."""
        counted = inversions(each.event_time for each in releases)
        self._events += counted.events
        self._pairs += counted.pairs
        self._behind += behind(releases)
        # Times are whole milliseconds; anything below is the error of a float of unix seconds.
        self._added.extend(round(each.added_s, 3) for each in releases)

    def merge(self, other: Self) -> None:
        """Add all that another one has."""
        self._events += other._events
        self._pairs += other._pairs
        self._behind += other._behind
        self._added.extend(other._added)

    def added(self) -> list[float]:
        """Return the added latencies (seconds), ascending."""
        return sorted(self._added)

    def summary(self) -> Summary:
        """Return what was added up."""
        added = self.added()
        count = len(added)
        return Summary(
            released=count,
            inverted=1000 * self._events / count,
            inverted_pairs=1000 * self._pairs / count,
            behind=1000 * self._behind / count,
            mean_s=sum(added) / count,
            p50_s=quantile(added, 0.5),
            p99_s=quantile(added, 0.99),
            max_s=added[-1],
            held_share=sum(value > 0 for value in added) / count,
        )
