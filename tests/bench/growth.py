"""Whether an event costs the same with a thousand callbacks waiting and with a million, with few keys and with many.

``python -m tests.bench.growth [--quick]``. For each case a new Redis and new processes: fill, then bridge, sequencer
and lane one after the other, each alone on the machine with Redis, and each over at most ``Plan.sample`` events *at
that depth*: the million is not worked off to its end. What the next stage then finds in front of it is filled up by
other means: the inbox by the bridge's own call without a bridge, the lane's queues by the sequencer, unmeasured, for
as long as ``Plan.fill_s``; the depth that the lane really had stands in the table. The backlog of 1,000 is handed over
anew until it amounts to a sample. Repetitions are the bursts, or the sample's fifths.

A cost is CPU seconds (user + system) of the stage's process and of Redis per 1,000 events; memory is the largest
resident set of the process (``VmHWM``). Flat is: at most 1.5 times the first case's, a backlog of 1,000; with one key twice.

Not measured: ingress, which knows no backlog; the whole pipeline running at once; several processes of a kind;
duplicates, disorder, actions that do something; what a rewrite of the append-only file costs meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.redis import keys
from tests.bench import shapes
from tests.bench.alone import run_alone
from tests.bench.curves import Axes, plot
from tests.bench.processes import BenchError, Crew
from tests.bench.redis_server import Server, redis_server
from tests.bench.spread import FLAT, Spread, growth, spread
from tests.bench.stages import BRIDGE, LANE, SEQUENCER, STAGES, Share, Stages, stages

NAME: Final = "growth"

BACKLOG: Final = "backlog"
KEYS: Final = "keys"
ONE_KEY: Final = "one key"

BUSY: Final = 2.0
"""What an event may cost if all are of one request: their outcomes are committed one by one."""

WARM_UP: Final = 500
"""Callbacks before the measured ones: script caches, registries, imports at first use."""


@dataclass(frozen=True, slots=True)
class Case:
    """One point of a curve."""

    series: str
    size: int
    """What grows: callbacks that wait, or ordering keys."""
    backlog: int
    bursts: int
    """How often that backlog is handed over."""
    traffic: Callable[[], Iterator[Envelope]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run."""

    groups: tuple[tuple[Case, ...], ...]
    """Cases of a group follow each other on the same Redis and processes, whose memory is then the largest so far."""
    sample: int
    """Events that each stage works off of a backlog, at most."""
    slices: int
    """Shares into which the sample is cut."""
    fill_s: float
    budget_s: float
    """No case is begun after this."""


def _one_key(events: int, bursts: int = 1) -> Case:
    return Case(ONE_KEY, events, events, bursts, partial(shapes.keyed, 1))


def _keys(amount: int, backlog: int) -> Case:
    return Case(KEYS, amount, backlog, 1, partial(shapes.keyed, amount))


def _backlog(waiting: int, bursts: int = 1) -> Case:
    return Case(BACKLOG, waiting, waiting, bursts, shapes.lives)


FULL: Final = Plan(
    (
        (_backlog(1_000, bursts=20),),
        (_backlog(10_000, bursts=2),),
        (_backlog(100_000),),
        (_backlog(1_000_000),),
        (_one_key(1_000, bursts=5),),
        (_one_key(10_000),),
        (_keys(10, 100_000),),
        (_keys(100_000, 100_000),),
        (_keys(1_000, 100_000),),
    ),
    sample=15_000, slices=5, fill_s=30.0, budget_s=400.0,
)  # fmt: skip
QUICK: Final = Plan(
    (
        # What a case leaves in the lane would be worked off in the next: those that leave something come last.
        (
            _backlog(1_000, bursts=2), _one_key(1_000), _keys(10, 2_000), _keys(2_000, 2_000),
            _backlog(10_000), _backlog(30_000),
        ),
    ),
    sample=2_000, slices=2, fill_s=1.0, budget_s=20.0,
)  # fmt: skip


@dataclass(slots=True)
class Found:
    """What one case cost."""

    series: str
    size: int
    backlog: int
    shares: dict[str, list[Share]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    depth: dict[str, int] = field(default_factory=dict)
    """Callbacks that waited in front of each stage when its sample began."""
    peak_mb: dict[str, float] = field(default_factory=dict)

    def cost(self, stage: str) -> Spread:
        """Return CPU seconds per 1,000 events."""
        return spread([share.cpu_s_per_1000 for share in self.shares[stage]])


def measure(
    group: Sequence[Case], plan: Plan, crew: Crew, directory: Path, found: list[Found], until: float
) -> None:
    """Measure a group of cases into ``found``. Raises BenchError, also if not all could begin in time."""
    if time.monotonic() > until:
        raise BenchError("no time was left")
    with redis_server(crew, directory) as redis, stages(crew, redis, directory / "marks") as pipeline:
        shapes.fill_broker(redis.client, shapes.lives(), WARM_UP)
        for stage in STAGES:
            pipeline.run(stage, WARM_UP)
        for case in group:
            if time.monotonic() > until:
                raise BenchError("no time was left")
            here = Found(case.series, case.size, case.backlog)
            traffic = case.traffic()
            for _ in range(case.bursts):
                _burst(case, plan, redis, pipeline, traffic, here)
            here.peak_mb = {stage: pipeline.peak_mb(stage) for stage in STAGES}
            found.append(here)


def _burst(
    case: Case, plan: Plan, redis: Server, pipeline: Stages, traffic: Iterator[Envelope], found: Found
) -> None:
    """Hand one backlog over and let each stage work on it."""
    sample = min(case.backlog, plan.sample)
    slices = plan.slices if case.bursts == 1 else 1
    shapes.fill_broker(redis.client, traffic, case.backlog)
    found.depth[BRIDGE] = case.backlog
    found.shares[BRIDGE] += pipeline.run(BRIDGE, sample, slices)
    rest = redis.client.llen(keys.RAW_QUEUE)
    redis.client.unlink(keys.RAW_QUEUE)
    shapes.fill_inbox(redis.client, traffic, rest)
    found.depth[SEQUENCER] = pipeline.inbox()
    found.shares[SEQUENCER] += pipeline.run(SEQUENCER, sample, slices)
    if pipeline.inbox():
        pipeline.run_for(SEQUENCER, pipeline.inbox(), plan.fill_s)
    found.depth[LANE] = pipeline.done(SEQUENCER) - pipeline.done(LANE)
    found.shares[LANE] += pipeline.run(LANE, min(sample, found.depth[LANE]), slices)


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Measure, print a table, write the plots. Returns JSON values; raises BenchError if nothing could be measured."""
    plan = QUICK if quick else FULL
    begun = time.monotonic()
    until = begun + plan.budget_s
    found: list[Found] = []
    troubles: list[str] = []
    with TemporaryDirectory(dir=out, prefix=".growth-") as directory, Crew(Path(directory)) as crew:
        for group in plan.groups:
            console.print(f"[dim]growth: {_names(group)}[/dim]", highlight=False)
            known = len(found)
            try:
                measure(group, plan, crew, Path(directory), found, until)
            except BenchError as error:
                troubles.append(f"{_names(group[len(found) - known :])}: {error}")
    if not found:
        raise BenchError(f"growth: nothing was measured: {'; '.join(troubles)}")
    show(console, found, troubles)
    return {
        "took_s": round(time.monotonic() - begun, 1),
        "sample": plan.sample,
        "cases": [_row(each) for each in found],
        "flat_within": {series: within(series) for series in dict.fromkeys(each.series for each in found)},
        "growth": grown(found),
        "plots": [path.name for path in draw(out, found)],
        "troubles": troubles,
    }


def _names(cases: Sequence[Case]) -> str:
    return ", ".join(f"{case.series} {case.size:,}" for case in cases)


def within(series: str) -> float:
    """Return how many times the first case's cost a series' events may cost."""
    return BUSY if series == ONE_KEY else FLAT


def grown(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """Return series -> stage -> largest cost per event over that of the first case of all, the smallest backlog."""
    result: dict[str, dict[str, float]] = {}
    for series in dict.fromkeys(each.series for each in found):
        cases = [each for each in found if each.series == series]
        result[series] = {
            stage: max(growth(found[0].cost(stage).median, each.cost(stage).median) for each in cases)
            for stage in STAGES
        }
    return result


def _row(found: Found) -> dict[str, Any]:
    return {
        "series": found.series,
        "size": found.size,
        "backlog": found.backlog,
        "depth": found.depth,
        "peak_mb": found.peak_mb,
        "cpu_s_per_1000": {stage: asdict(found.cost(stage)) for stage in STAGES},
        "shares": {stage: [asdict(share) for share in found.shares[stage]] for stage in STAGES},
    }


def show(console: Console, found: Sequence[Found], troubles: Sequence[str]) -> None:
    """Print a table per stage, and what went wrong."""
    factors = grown(found)
    for stage in STAGES:
        table = Table(
            title=f"Cost growth: {stage}", title_justify="left", title_style="bold", header_style="dim"
        )
        for title in ("", "waiting before it", "CPU s/1000", "of it Redis", "x first", "events/s", "peak MB"):
            table.add_column(title, justify="right" if title else "left")
        for each in found:
            shares = each.shares[stage]
            cost = each.cost(stage)
            table.add_row(
                f"{each.series} {each.size:,}",
                f"{each.depth[stage]:,}",
                cost.text(3),
                spread([share.redis_cpu_s_per_1000 for share in shares]).text(3),
                f"{growth(found[0].cost(stage).median, cost.median):.2f}",
                spread([share.per_s for share in shares]).text(),
                f"{each.peak_mb[stage]:.0f}",
            )
        console.print(table)
    for series, by_stage in factors.items():
        said = ", ".join(f"{stage} {factor:.2f}" for stage, factor in by_stage.items())
        bound = within(series)
        verdict = "flat" if max(by_stage.values()) <= bound else f"NOT flat within {bound:g}"
        console.print(f"{series}: largest cost per event over the first: {said}: {verdict}", highlight=False)
    for trouble in troubles:
        console.print(f"NOT MEASURED: {trouble}", markup=False, highlight=False)


def draw(out: Path, found: Sequence[Found]) -> list[Path]:
    """Write the plots. Returns the files."""
    files: list[Path] = []
    for series, x in ((BACKLOG, "callbacks that wait"), (KEYS, "ordering keys")):
        cases = sorted((each for each in found if each.series == series), key=lambda each: each.size)
        if len(cases) > 1:
            costs = {stage: [(_x(each, stage), each.cost(stage)) for each in cases] for stage in STAGES}
            axes = Axes(f"Cost of an event over {x}", x, "CPU seconds per 1,000 events, with Redis")
            files += plot(out / f"growth-{series}", axes, costs)
        if len(cases) > 1 and series == BACKLOG:
            memory = {
                stage: [(_x(each, stage), spread([each.peak_mb[stage]])) for each in cases]
                for stage in STAGES
            }
            axes = Axes("Memory of a process over the backlog", x, "largest resident set, MB")
            files += plot(out / "growth-memory", axes, memory)
    return files


def _x(found: Found, stage: str) -> float:
    """Return where a case lies: at the depth that the stage really had in front of it."""
    return found.depth[stage] if found.series == BACKLOG else found.size


if __name__ == "__main__":
    sys.exit(run_alone(NAME, __doc__, run))
