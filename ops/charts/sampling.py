"""Samples of an installation, and the time series made of them. Pure.

A sample holds depth and oldest age of every stage, and what happened since the sample before. It holds increments, not
totals: the sum of a span is the sum of its samples, and only this module handles a counter that started again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from deedbox.ops.readmodels.intake import LIVE_S
from deedbox.ops.readmodels.stages import Stage
from deedbox.shared.records.intake_report import IntakeReport
from deedbox.shared.records.sample import Sample, SampleTotals, WebTotals

COUNTED: Final = ("released", "late", "duplicate", "action_done", "action_retry", "action_dead", "held")
"""Counters whose increments a sample keeps."""


def totals_of(at: float, counters: Mapping[str, int], reports: Iterable[IntakeReport]) -> SampleTotals:
    """Gather the totals of one moment."""
    return SampleTotals(
        at,
        {name: counters[name] for name in COUNTED if name in counters},
        {report.process: _web(report) for report in reports},
    )


def sample(before: SampleTotals | None, now: SampleTotals, stages: Mapping[str, Stage]) -> Sample:
    """Make the sample of the interval from ``before`` to ``now``."""
    depth = {name: stage.depth for name, stage in stages.items() if stage.depth is not None}
    age_s = {
        name: round(stage.oldest_age_s, 1) for name, stage in stages.items() if stage.oldest_age_s is not None
    }
    if before is None or before.at >= now.at:
        return Sample(now.at, None, depth, age_s)
    happened = {name: _risen(before.counters.get(name, 0), total) for name, total in now.counters.items()}
    refused: Counter[str] = Counter()
    bounds: tuple[float, ...] = ()
    acks: list[int] = []
    for process, web in now.web.items():
        base = before.web.get(process)
        if base is None or base.started_at != web.started_at:  # another process of the same pid, or a new one
            # One that has run for long was not seen before: when it counted that is unknown.
            base = WebTotals(web.started_at) if web.started_at >= before.at - LIVE_S else web
        for name, old, new in (
            ("accepted", base.accepted, web.accepted),
            ("spooled", base.spooled, web.spooled),
        ):
            happened[name] = happened.get(name, 0) + _risen(old, new)
        for reason, total in web.refused.items():
            refused[reason] += _risen(base.refused.get(reason, 0), total)
        bounds = bounds or web.bounds_ms
        if web.bounds_ms == bounds:  # during a rolling deploy others may count in other buckets
            was = base.counts or (0,) * len(web.counts)
            risen = [_risen(old, new) for old, new in zip(was, web.counts, strict=False)]
            acks = [a + b for a, b in zip(acks, risen, strict=False)] if acks else risen
    return Sample(now.at, round(now.at - before.at, 3), depth, age_s, happened, dict(+refused), bounds, acks)


def quantile_ms(bounds_ms: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Estimate a quantile from buckets, evenly spread within each; the last bucket answers with its lower bound."""
    total = sum(counts)
    if not total:
        return None
    rank, below = share * total, 0
    for index, count in enumerate(counts):
        if below + count >= rank and count:
            low = bounds_ms[index - 1] if index else 0.0
            if index >= len(bounds_ms):
                return float(low)
            return round(low + (bounds_ms[index] - low) * (rank - below) / count, 2)
        below += count
    return float(bounds_ms[-1]) if bounds_ms else None


def _risen(before: int, now: int) -> int:
    """Return how much a counter rose; one that fell started again at 0."""
    return now - before if now >= before else now


def _web(report: IntakeReport) -> WebTotals:
    refused = Counter(report.strays)
    for source in report.sources.values():
        refused.update(source.refused)
    return WebTotals(
        report.started_at,
        sum(source.accepted for source in report.sources.values()),
        sum(source.spooled for source in report.sources.values()),
        dict(refused),
        report.bounds_ms,
        report.counts,
    )
