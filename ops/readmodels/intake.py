"""What ingress received, over all its processes, by source; and how near Dropbox Sign is to dropping a callback URL."""

from __future__ import annotations

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


def live_processes(reports: Iterable[bytes], now: float) -> int:
    """Count the web processes that reported lately; a report that cannot be read counts for nothing."""
    read = (IntakeReport.load("", report) for report in reports)
    return sum(now - report.at < LIVE_S for report in read if report)
