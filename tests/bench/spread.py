"""Repeated measurements in three numbers, and how much a cost grows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import Final

FLAT: Final = 1.5
"""A cost per event that grows by no more than this factor counts as flat."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 0) -> str:
        """Return median (lowest-highest); the range only if there is one."""
        middle = f"{self.median:,.{digits}f}"
        if self.count == 1:
            return middle
        return f"{middle} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Summarise at least one value."""
    return Spread(median(values), min(values), max(values), len(values))


def growth(base: float, grown: float) -> float:
    """Return how many times as much it costs as at the base; 1 where there is nothing to compare with."""
    return grown / base if base > 0 else 1.0


def per_item(sizes: Sequence[float], totals: Sequence[float]) -> float:
    """Return what one more item adds (least squares): what is there without any item does not count."""
    return linear_regression(sizes, totals).slope
