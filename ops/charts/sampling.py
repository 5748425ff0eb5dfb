"""Samples of an installation, and the time series made of them. Pure.

A sample holds depth and oldest age of every stage, and what happened since the sample before: increments, not
totals, so that any span of samples is summed up by adding, and a counter that started again is handled once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from deedbox.ops.readmodels.intake import LIVE_S
from deedbox.ops.readmodels.stages import Stage
from deedbox.shared.records.intake_report import IntakeReport

COUNTED: Final = ("released", "late", "duplicate", "action_done", "action_retry", "action_dead", "held")
"""Counters whose increments a sample keeps."""


@dataclass(frozen=True, slots=True)
class SampleTotals:
    """Every counter at one moment: what the next sample is compared with."""

    at: float
    """Unix seconds."""
    counters: Mapping[str, int] = field(default_factory=dict)
    web: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per web process: started_at, accepted, spooled, refused by reason, bounds and counts."""

    @classmethod
    def of(cls, at: float, counters: Mapping[str, int], reports: Iterable[IntakeReport]) -> Self:
        """Gather the totals of one moment."""
        return cls(
            at,
            {name: counters[name] for name in COUNTED if name in counters},
            {report.process: _web(report) for report in reports},
        )

    def pack(self) -> str:
        """Return its text."""
        return json.dumps({"at": self.at, "counters": dict(self.counters), "web": dict(self.web)})

    @classmethod
    def unpack(cls, text: bytes | str | None) -> Self | None:
        """Rebuild it; None if there is none of this version."""
        try:
            row = json.loads(text or b"")
            return cls(float(row["at"]), dict(row["counters"]), dict(row["web"]))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Sample:
    """What one interval looked like."""

    at: float
    """Unix seconds of its end."""
    span_s: float | None
    """How long the increments took to come together; None: there was nothing to compare with."""
    depth: Mapping[str, int] = field(default_factory=dict)
    """By stage; a stage that did not answer is missing."""
    age_s: Mapping[str, float] = field(default_factory=dict)
    happened: Mapping[str, int] = field(default_factory=dict)
    """Increments by name: ``COUNTED``, and ``accepted`` and ``spooled`` of the web processes."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Increments by reason."""
    bounds_ms: Sequence[float] = ()
    acks: Sequence[int] = ()
    """Acknowledgements of the interval per bucket."""

    def pack(self) -> str:
        """Return its text, without what is zero."""
        row: dict[str, Any] = {
            "t": self.at, "s": self.span_s, "d": {name: n for name, n in self.depth.items() if n}, "a": dict(self.age_s),
            "n": {name: n for name, n in self.happened.items() if n}, "r": dict(self.refused),
            "x": sorted(self.depth),
        }  # fmt: skip
        if any(self.acks):
            row |= {"b": list(self.bounds_ms), "k": list(self.acks)}
        return json.dumps(
            {name: value for name, value in row.items() if value not in ({}, [])}, separators=(",", ":")
        )

    @classmethod
    def unpack(cls, text: bytes) -> Self | None:
        """Rebuild it; None if it is of another version."""
        try:
            row = json.loads(text)
            depth = dict.fromkeys(row.get("x", ()), 0) | row.get("d", {})
            return cls(
                float(row["t"]), row["s"], depth, row.get("a", {}), row.get("n", {}), row.get("r", {}),
                row.get("b", ()), row.get("k", ()),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def sample(before: SampleTotals | None, now: SampleTotals, stages: Mapping[str, Stage]) -> Sample:
    """Make the sample of the interval from ``before`` to ``now``."""
    depth = {name: stage.depth for name, stage in stages.items() if stage.depth is not None}
    age_s = {
        name: round(stage.oldest_age_s, 1) for name, stage in stages.items() if stage.oldest_age_s is not None
    }
    if before is None or before.at >= now.at:
        return Sample(now.at, None, depth, age_s)
    happened = {name: _risen(before.counters.get(name, 0), total) for name, total in now.counters.items()}
    refused: dict[str, int] = {}
    bounds: Sequence[float] = ()
    acks: list[int] = []
    for process, web in now.web.items():
        base = before.web.get(process, {})
        if base.get("started_at") != web["started_at"]:  # another process of the same pid, or a new one
            # One that has run for long was not seen before: when it counted that is unknown.
            base = {} if web["started_at"] >= before.at - LIVE_S else web
        for name in ("accepted", "spooled"):
            happened[name] = happened.get(name, 0) + _risen(base.get(name, 0), web[name])
        for reason, total in web["refused"].items():
            refused[reason] = refused.get(reason, 0) + _risen(base.get("refused", {}).get(reason, 0), total)
        bounds = bounds or web["bounds"]
        if list(web["bounds"]) == list(bounds):  # during a rolling deploy others may count in other buckets
            was = base.get("counts", [0] * len(web["counts"]))
            risen = [_risen(old, new) for old, new in zip(was, web["counts"], strict=False)]
            acks = [a + b for a, b in zip(acks, risen, strict=False)] if acks else risen
    refused = {reason: count for reason, count in refused.items() if count}
    return Sample(now.at, round(now.at - before.at, 3), depth, age_s, happened, refused, bounds, acks)


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


def _web(report: IntakeReport) -> Mapping[str, Any]:
    refused = Counter(report.strays)
    for source in report.sources.values():
        refused.update(source.refused)
    return {
        "started_at": report.started_at,
        "accepted": sum(source.accepted for source in report.sources.values()),
        "spooled": sum(source.spooled for source in report.sources.values()),
        "refused": dict(refused),
        "bounds": list(report.bounds_ms),
        "counts": list(report.counts),
    }
