"""What ingress received, over all its processes, by source; and how near Dropbox Sign is to dropping a callback URL.

Each web process also reports about itself, in one field of the hash ``deedbox:intake`` about every 2 s, and removes it
when it ends. A report of another form counts for nothing; one that is older than a minute comes from a process that was
killed. What outlives the processes is in the hash ``sources``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from deedbox.shared.core.fields import count_of, moment_of
from deedbox.shared.records.intake_report import IntakeReport
from deedbox.shared.redis.scripting import text

LIVE_S: Final = 60.0
"""A web process that was silent for longer is not there any more; it reports every 2 s."""

FAILURES_MAX: Final = 10
"""Failures in a row after which Dropbox Sign drops the callback URL."""


@dataclass(slots=True)
class SourceIntake:
    """One source's totals. Times are unix seconds."""

    accepted: int = 0
    spooled: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    last_accepted_at: float | None = None
    last_test_at: float | None = None
    failures: tuple[float, ...] = ()
    """The latest refusals in a row, oldest first, at most ``FAILURES_MAX``."""

    @property
    def failures_left(self) -> int:
        """How many more in a row until Dropbox Sign drops the URL."""
        return max(0, FAILURES_MAX - len(self.failures))


def sources_of(reply: Mapping[bytes, bytes], configured: Iterable[str] = ()) -> dict[str, SourceIntake]:
    """Read the hash ``sources``: the configured ones, and those that any web process knew."""
    found = {name: SourceIntake() for name in configured}
    for key, packed in reply.items():
        name, _, what = text(key).partition("|")
        mine = found.setdefault(name, SourceIntake())
        if what.startswith("refused|"):
            mine.refused[what.removeprefix("refused|")] = count_of(packed)
        elif what == "failures":
            times = (moment_of(at) for at in packed.split(b","))
            mine.failures = tuple(at for at in times if at is not None)
        elif what in {"last_accepted_at", "last_test_at"}:
            setattr(mine, what, moment_of(packed))
        elif what in {"accepted", "spooled"}:
            setattr(mine, what, count_of(packed))
    return found


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
