"""``python -m tests.bench [--quick]``: Deedbox beside RQ, Celery and taskiq, in one interleaved run.

Prints tables, ends with the targets, and writes ``var/bench/<time>/``: results.json and plots. Loopback only, private
ports, a Redis of its own for every measurement; ends everything that it started, on Ctrl-C too. README.md in this
folder says how to read it, and what it does not show.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NoReturn

from rich.console import Console

from deedbox.shared.core.errors import SettingsError
from tests.bench import (
    end_to_end,
    ingress,
    latency,
    memory,
    others,
    report,
    subjects,
    targets,
    workers,
)
from tests.bench.generator import Generator
from tests.bench.payloads import distinct, lifecycles, mean_bytes, write_file
from tests.bench.processes import ROOT, BenchError, Crew, ForeignCpu
from tests.bench.room import FULL, QUICK, Room, Sample, Scale

INTERLEAVED: Final = ("ingress", "end-to-end", "workers", "latency", "memory")
SECTIONS: Final = (*INTERLEAVED, *others.NAMES)
PEAK_PER_S: Final = 12_000
"""Callbacks per second that the prepared distinct ones last for; a faster ingress ends its loop early."""

Measurement = tuple[str, Callable[[], list[Sample]]]


def plan(room: Room, sections: Sequence[str], number: int) -> list[Measurement]:
    """Return a round's measurements in order: every other round runs them backwards. Memory is of the first only."""
    found: list[Measurement] = []

    def add(section: str, names: Iterable[str], measure: Callable[..., list[Sample]], *more: int) -> None:
        found.extend(
            (f"{section}: {name}", partial(measure, room, name, *more))
            for name in names
            if not room.scale.only_judged or (section, name) in targets.NAMED
        )

    if "ingress" in sections:
        add(ingress.KEPT, subjects.QUEUES, ingress.measure)
    if "end-to-end" in sections:
        add(end_to_end.SECTION, end_to_end.STACKS, end_to_end.measure)
    if "workers" in sections:
        add(workers.SECTION, workers.QUEUES, workers.measure_queue)
        found.append(("workers: Deedbox, stage by stage", partial(workers.measure_stages, room)))
    if "latency" in sections:
        add(latency.SECTION, latency.SUBJECTS, latency.measure, number)
    if "memory" in sections and number == 0:
        add(memory.SECTION, memory.SUBJECTS, memory.measure)
        add(memory.REMEMBERED, memory.REMEMBERING, memory.measure_remembered)
    return found if number % 2 == 0 else found[::-1]


def run(room: Room, sections: Sequence[str], console: Console) -> tuple[list[Sample], list[str]]:
    """Run the rounds. Returns the samples and what went wrong; a failed measurement is left out, not repeated."""
    samples: list[Sample] = []
    troubles: list[str] = []
    started = time.monotonic()
    longest_s = 0.0
    for number in range(room.scale.rounds):
        begun = time.monotonic()
        if begun - started + longest_s > room.scale.budget_s:
            troubles.append(
                f"only {number} of {room.scale.rounds} rounds fitted into {room.scale.budget_s:g} s"
            )
            break
        for name, measure in plan(room, sections, number):
            console.print(f"[dim]round {number + 1} of {room.scale.rounds}, {name}[/dim]", highlight=False)
            try:
                samples += [replace(sample, round=number) for sample in measure()]
            except BenchError as error:
                troubles.append(f"round {number + 1}, {name}: {error}")
                console.print(f"failed: {error}", style="red", markup=False)
        longest_s = max(longest_s, time.monotonic() - begun)
    return samples, troubles


def prepare(scale: Scale, directory: Path, crew: Crew) -> Room:
    """Make the callbacks of a run and start the load generator."""
    bodies, lives = directory / "bodies", directory / "lives"
    write_file(bodies, distinct(int(PEAK_PER_S * scale.ingress_s)))
    offered = int(end_to_end.FASTEST_PER_S * scale.end_to_end_s) + end_to_end.WARM_UP
    prefilled = int(workers.FASTEST_PER_S * scale.workers_s)
    texts = lifecycles(max(offered, prefilled, memory.AT + memory.FIRST + scale.memory_callbacks))
    write_file(lives, texts)
    return Room(scale, directory, crew, Generator(crew), bodies, lives, texts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark. Returns the exit code: 0 ok, 1 a measurement failed, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round of what the targets name, about 3 minutes"
    )
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, help="this section only; may be repeated"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    console = Console(width=None if sys.stdout.isatty() else 170)
    started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    out = ROOT / "var" / "bench" / started
    out.mkdir(parents=True, exist_ok=True)
    try:
        return _measured(options, started, out, console)
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has been stopped")
        return 130
    except (BenchError, SettingsError) as error:
        console.print(f"bench: {error}", markup=False)
        return 1
    finally:
        with suppress(OSError):
            out.rmdir()  # only if nothing came of it


def _measured(options: argparse.Namespace, started: str, out: Path, console: Console) -> int:
    scale: Scale = QUICK if options.quick else FULL
    sections: Sequence[str] = options.only or SECTIONS
    load_before, begun, foreign = os.getloadavg(), time.monotonic(), ForeignCpu()
    console.print(f"load average before: {load_before[0]:.2f}; the numbers are only as quiet as the machine")
    samples: list[Sample] = []
    troubles: list[str] = []
    results: dict[str, Any] = {}
    if set(sections) & set(INTERLEAVED):
        with TemporaryDirectory(dir=out.parent, prefix=".run-") as directory, Crew(Path(directory)) as crew:
            room = prepare(scale, Path(directory), crew)
            samples, troubles = run(room, sections, console)
            results["body_bytes_mean"] = round(mean_bytes(room.life_texts))
    summary, verdicts = report.summarize(samples), targets.judge(samples)
    results |= {"summary": summary, "samples": [asdict(sample) for sample in samples]}
    _conclude(out, summary, samples, console)
    # What took minutes is kept, whatever the other sections come to.
    _write(out / "results.json", results | {"troubles": troubles})
    others_results, others_verdicts, others_troubles = others.run(
        sections, quick=options.quick, out=out, console=console
    )
    verdicts += others_verdicts
    troubles += others_troubles
    facts = {
        "started": started,
        "took_s": round(time.monotonic() - begun, 1),
        "machine": report.machine(),
        "others_cpu_share": round(foreign.share(), 3),
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "scale": asdict(scale),
        "troubles": troubles,
        "targets": [asdict(verdict) for verdict in verdicts],
    }
    _write(out / "results.json", facts | results | others_results)
    targets.show(console, verdicts)
    report.show_facts(console, facts | results)
    console.print(f"[dim]{out.relative_to(ROOT)}: results.json and the plots as SVG and PNG[/dim]")
    return 1 if troubles or not (samples or others_results) else 0


def _conclude(out: Path, summary: report.Summary, samples: Sequence[Sample], console: Console) -> None:
    """Print the tables and draw the plots of the interleaved sections."""
    if not samples:
        return
    # Only the benchmark's own extra has matplotlib; the tests of this file do without.
    from tests.bench import plots

    plots.draw(out, summary, samples)
    report.show(console, summary)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _terminated(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
