"""What the living web processes report about themselves: counters since their start, time to an acknowledgement.

Each writes one field of the hash ``deedbox:intake`` about every 2 s and removes it when it ends. A report of another
version counts for nothing; one that is older than a minute comes from a process that was killed. What outlives the
processes is in the hash ``sources`` (``deedbox.ops.readmodels.intake``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.readmodels.intake import LIVE_S, SourceIntake
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import text


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source, as one web process saw it since it started."""

    accepted: int = 0
    spooled: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """Reason -> count."""

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> Self:
        """Build it from its JSON object. Raises what a document of another form raises."""
        refused = {str(reason): int(count) for reason, count in row["refused"].items()}
        return cls(int(row["accepted"]), int(row["spooled"]), refused)


@dataclass(frozen=True, slots=True)
class Report:
    """One web process."""

    process: str
    """``<host>:<pid>``."""
    at: float
    started_at: float
    bounds_ms: tuple[float, ...]
    """Upper bounds of the buckets; the last bucket has none."""
    counts: tuple[int, ...]
    """Acknowledgements per bucket since the start."""
    sources: Mapping[str, SourceReport]
    strays: Mapping[str, int] = field(default_factory=dict)
    """Refusals that belong to no source, such as ``not_found``: reason -> count."""

    @classmethod
    def of_json(cls, process: str, document: bytes) -> Self | None:
        """Build a report; None if it is of another form."""
        try:
            row = json.loads(document)
            ack = row["ack_ms"]
            bounds, counts = tuple(map(float, ack["bounds"])), tuple(map(int, ack["counts"]))
            sources = {str(name): SourceReport.of_json(each) for name, each in row["sources"].items()}
            strays = {str(reason): int(count) for reason, count in row.get("strays", {}).items()}
            at, started_at = float(row["at"]), float(row["started_at"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if len(counts) != len(bounds) + 1:
            return None
        return cls(process, at, started_at, bounds, counts, sources, strays)


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source: its totals, and why it refuses at present."""

    name: str
    kept: SourceIntake
    reasons: tuple[str, ...] = ()
    """Reasons of refusals since the living processes started, the most frequent first; else those of all time."""

    @property
    def failures_in_a_row(self) -> int:
        """Refusals since the last acceptance by any process."""
        return len(self.kept.failures)


def read(redis: Redis) -> list[Report]:
    """Read every report, of whatever age. Raises Unavailable."""
    try:
        rows: Mapping[Any, Any] = redis.hgetall(keys.INTAKE)
    except RedisError as error:
        raise translated(error) from error
    return parse(rows)


def parse(rows: Mapping[bytes, bytes]) -> list[Report]:
    """Build the reports of a reply, by process."""
    found = (Report.of_json(text(process), document) for process, document in sorted(rows.items()))
    return [report for report in found if report is not None]


def fresh(reports: Iterable[Report], now: float) -> list[Report]:
    """Return the reports of processes that live. ``now``: unix seconds."""
    return [report for report in reports if now - report.at <= LIVE_S]


def by_source(kept: Mapping[str, SourceIntake], reports: Iterable[Report]) -> list[SourceView]:
    """Return a view of each source. ``reports``: of the living processes."""
    known = list(reports)
    return [
        SourceView(name, intake, _reasons(name, known) or _ranked(intake.refused))
        for name, intake in kept.items()
    ]


def _reasons(name: str, reports: Iterable[Report]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for report in reports:
        if name in report.sources:
            counts.update(report.sources[name].refused)
    return _ranked(counts)


def _ranked(refused: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(reason for reason, count in Counter(refused).most_common() if count)
