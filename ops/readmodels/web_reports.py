"""What the living web processes report about themselves: counters since their start, time to an acknowledgement.

Each writes one field of the hash ``deedbox:intake`` about every 2 s and removes it when it ends. A report of another
form counts for nothing; one that is older than a minute comes from a process that was killed. What outlives the
processes is in the hash ``sources`` (``deedbox.ops.readmodels.intake``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from deedbox.ops.readmodels.intake import LIVE_S, SourceIntake
from deedbox.shared.records.intake_report import IntakeReport
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text


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


def read(redis: Redis) -> list[IntakeReport]:
    """Read every report, of whatever age. Raises Unavailable."""
    with translating():
        rows: Mapping[Any, Any] = redis.hgetall(keys.INTAKE)
    return parse(rows)


def parse(rows: Mapping[bytes, bytes]) -> list[IntakeReport]:
    """Build the reports of a reply, by process."""
    found = (IntakeReport.load(text(process), packed) for process, packed in sorted(rows.items()))
    return [report for report in found if report]


def fresh(reports: Iterable[IntakeReport], now: float) -> list[IntakeReport]:
    """Return the reports of processes that live. ``now``: unix seconds."""
    return [report for report in reports if now - report.at <= LIVE_S]


def by_source(kept: Mapping[str, SourceIntake], reports: Iterable[IntakeReport]) -> list[SourceView]:
    """Return a view of each source. ``reports``: of the living processes."""
    known = list(reports)
    return [
        SourceView(name, intake, _reasons(name, known) or _ranked(intake.refused))
        for name, intake in kept.items()
    ]


def _reasons(name: str, reports: Iterable[IntakeReport]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for report in reports:
        if name in report.sources:
            counts.update(report.sources[name].refused)
    return _ranked(counts)


def _ranked(refused: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(reason for reason, count in Counter(refused).most_common() if count)
