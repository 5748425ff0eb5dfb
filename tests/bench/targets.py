"""The targets, each as a ratio of two subjects' medians in the same run, and whether the run meets it.

A ratio keeps its natural direction here ("4.5 times", "1/8"), as a target is written; the tables' columns instead
all say how many times better a row is. The range is that of the ratios within each round.

Not judged here: cost growth and order, which are sections of their own and may hand in rows (``Verdict``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench import end_to_end, ingress, latency, memory, subjects, workers
from tests.bench.room import Sample


@dataclass(frozen=True, slots=True)
class Target:
    """What a subject is to reach."""

    what: str
    section: str
    subject: str
    name: str
    """Of the value in the samples."""
    peer: str | None
    """Whose value it is held against; None: the bound is a value itself."""
    bound: float
    at_least: bool
    judged: bool = True
    """False: shown beside a target for comparison, and neither met nor missed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of the targets table."""

    what: str
    target: str
    measured: str
    met: bool | None
    """None: not measured, or not judged."""


def _faster(
    what: str, section: str, subject: str, peers: dict[str, float], *, judged: bool = True
) -> tuple[Target, ...]:
    return tuple(
        Target(f"{what}, {subject} / {peer}", section, subject, "per_s", peer, bound, at_least=True, judged=judged)
        for peer, bound in peers.items()
    )  # fmt: skip


def _smaller(
    what: str, section: str, subject: str, name: str, peers: dict[str, float], *, judged: bool = True
) -> tuple[Target, ...]:
    return tuple(
        Target(f"{what}, {subject} / {peer}", section, subject, name, peer, bound, at_least=False, judged=judged)
        for peer, bound in peers.items()
    )  # fmt: skip


def _ingress(section: str, kind: str) -> tuple[Target, ...]:
    rates = {
        subjects.FLASK_RQ: 3.5,
        subjects.FLASK_CELERY: 4.5,
        subjects.FASTAPI_TASKIQ: 1.3,
        subjects.FLASK_ACK: 0.8,
    }
    return (
        *_smaller(f"CPU per callback ({kind})", section, subjects.DEEDBOX, "total_cpu_s_per_1000", {subjects.FLASK_RQ: 0.35}),
        *_faster(f"accepted/s ({kind})", section, subjects.DEEDBOX, rates),
    )  # fmt: skip


_RATES: Final = {
    end_to_end.RQ_FORK: 25.0,
    end_to_end.RQ_SIMPLE: 9.0,
    end_to_end.CELERY: 5.0,
    end_to_end.TASKIQ: 1.6,
}
_CPU: Final = {end_to_end.RQ_SIMPLE: 1 / 9, end_to_end.CELERY: 1 / 6}
_WAITING: Final = {subjects.FLASK_RQ: 1 / 5, subjects.FLASK_CELERY: 1 / 12}

TARGETS: Final = (
    *_ingress(ingress.KEPT, "keep-alive"),
    *_ingress(ingress.CLOSED, "connection per callback"),
    *_faster("end to end events/s", end_to_end.SECTION, end_to_end.DEEDBOX, _RATES),
    *_smaller("end to end CPU", end_to_end.SECTION, end_to_end.DEEDBOX, "total_cpu_s_per_1000", _CPU),
    *_faster("events/s from a full broker", workers.SECTION, workers.WHOLE, {workers.RQ: 45.0, workers.CELERY: 14.0}),
    *_faster("events/s per process", workers.SECTION, workers.ONE_PROCESS, {workers.RQ: 35.0, workers.CELERY: 12.0}),
    *_smaller("latency p50", latency.SECTION, subjects.DEEDBOX, "p50_ms", {subjects.FLASK_CELERY: 0.6}),
    *_smaller("latency p99", latency.SECTION, subjects.DEEDBOX, "p99_ms", {subjects.FLASK_CELERY: 1.0}),
    *_smaller("B per waiting callback", memory.SECTION, memory.BROKER, "memory_bytes", _WAITING),
    *_smaller("B per waiting callback", memory.SECTION, memory.INBOX, "memory_bytes", _WAITING),
    Target("B per remembered fact", memory.REMEMBERED, memory.DEDUPE, "fact_bytes", None, 100, at_least=False),
)  # fmt: skip


NAMED: Final = frozenset(
    (target.section, subject) for target in TARGETS for subject in (target.subject, target.peer) if subject
)
"""Section and subject of everything that a target needs."""


def judge(samples: Iterable[Sample], targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """Hold a run against the targets of the sections that it has."""
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for sample in samples:
        for name, value in sample.values.items():
            found.setdefault((sample.section, sample.subject, name), {})[sample.round] = value
    sections = {section for section, _, _ in found}
    return [_verdict(target, found) for target in targets if target.section in sections]


def _verdict(target: Target, found: dict[tuple[str, str, str], dict[int, float]]) -> Verdict:
    sign = "at least" if target.at_least else "at most"
    bound = f"{sign} {_written(target.bound, target)}"
    ours = found.get((target.section, target.subject, target.name))
    if target.peer is None:
        theirs = dict.fromkeys(ours or (), 1.0)
    else:
        theirs = found.get((target.section, target.peer, target.name), {})
    if not ours or not theirs:
        return Verdict(target.what, bound if target.judged else "", "not measured", None)
    value = median(ours.values()) / median(theirs.values())
    each = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys()]
    measured = _written(value, target)
    if len(each) > 1:
        measured += f" ({_written(min(each), target)} - {_written(max(each), target)})"
    if not target.judged:
        return Verdict(target.what, "", measured, None)
    met = value >= target.bound if target.at_least else value <= target.bound
    return Verdict(target.what, bound, measured, met)


def _written(value: float, target: Target) -> str:
    if target.peer is None:
        return f"{value:,.0f}"
    if target.at_least:
        return f"{value:.2f}x" if value < 10 else f"{value:.1f}x"
    if target.bound < 0.5 and value < 1:
        return f"1/{1 / value:.3g}"
    return f"{value:.2f}"


def show(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print the table."""
    if not verdicts:
        return
    table = Table(title="Targets", title_justify="left", title_style="bold", header_style="dim")
    table.add_column("")
    table.add_column("target", justify="right")
    table.add_column("measured (rounds' min - max)", justify="right")
    table.add_column("")
    for verdict in verdicts:
        mark = {True: "[green]met[/green]", False: "[red]not met[/red]", None: ""}[verdict.met]
        table.add_row(verdict.what, verdict.target, verdict.measured, mark)
    console.print(table)
    judged = [verdict.met for verdict in verdicts if verdict.met is not None]
    console.print(f"{sum(judged)} of {len(judged)} measured targets met", highlight=False)
