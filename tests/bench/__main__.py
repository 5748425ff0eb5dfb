"""``python -m tests.bench [--quick]``: Deedbox beside Flask + RQ and Flask + Celery, in one interleaved run.

Prints tables and writes ``var/bench/<time>.json``. Loopback only, private ports, a Redis of its own for every
measurement; ends everything that it started, on Ctrl-C too. README.md in this folder says how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

from rich.console import Console

from shared.core.errors import SettingsError
from tests.bench import ingress, latency, memory, report, subjects, workers
from tests.bench.generator import Generator
from tests.bench.payloads import distinct, lifecycles, mean_bytes, write_file
from tests.bench.processes import ROOT, BenchError, Crew, ForeignCpu
from tests.bench.room import FULL, QUICK, Room, Sample, Scale

SECTIONS: Final = ("ingress", "workers", "latency", "memory")
PEAK_PER_S: Final = 6_000
"""Callbacks per second that the prepared distinct ones last for; a faster ingress ends its loop early."""

Measurement = tuple[str, Callable[[], list[Sample]]]


def plan(room: Room, sections: Sequence[str], seed: int) -> list[Measurement]:
    """Return one round's measurements in order; every other round runs them backwards."""
    found: list[Measurement] = []
    peers = (subjects.DEEDBOX, subjects.FLASK_RQ, subjects.FLASK_CELERY)
    if "ingress" in sections:
        found += [(f"ingress: {each}", partial(ingress.measure, room, each)) for each in subjects.QUEUES]
    if "workers" in sections:
        queues = (workers.WHOLE, workers.RQ, workers.CELERY)
        found += [(f"workers: {each}", partial(workers.measure_queue, room, each)) for each in queues]
        found.append(("workers: Deedbox, stage by stage", partial(workers.measure_stages, room)))
    if "latency" in sections:
        found += [(f"latency: {each}", partial(latency.measure, room, each, seed)) for each in peers]
    if "memory" in sections and seed == 0:
        found += [(f"memory: {each}", partial(memory.measure, room, each)) for each in peers]
    return found


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
        measurements = plan(room, sections, number)
        for name, measure in measurements if number % 2 == 0 else reversed(measurements):
            console.print(f"[dim]round {number + 1} of {room.scale.rounds}, {name}[/dim]", highlight=False)
            try:
                samples += measure()
            except BenchError as error:
                troubles.append(f"round {number + 1}, {name}: {error}")
                console.print(f"failed: {error}", style="red", markup=False)
        longest_s = max(longest_s, time.monotonic() - begun)
    return samples, troubles


def prepare(scale: Scale, directory: Path, crew: Crew) -> Room:
    """Make the callbacks of a run and start the load generator."""
    bodies, lives = directory / "bodies", directory / "lives"
    write_file(bodies, distinct(int(PEAK_PER_S * scale.ingress_s)))
    texts = lifecycles(max(scale.deedbox_events, scale.celery_events))
    write_file(lives, texts[:1_000])
    return Room(scale, directory, crew, Generator(crew), bodies, lives, texts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark. Returns the exit code: 0 ok, 1 a measurement failed, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds, about 3 minutes")
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, help="this section only; may be repeated"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    console = Console(width=None if sys.stdout.isatty() else 150)
    home = ROOT / "var" / "bench"
    home.mkdir(parents=True, exist_ok=True)
    try:
        return _measured(QUICK if options.quick else FULL, options.only or SECTIONS, home, console)
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has been stopped")
        return 130
    except (BenchError, SettingsError) as error:
        console.print(f"bench: {error}", markup=False)
        return 1


def _measured(scale: Scale, sections: Sequence[str], home: Path, console: Console) -> int:
    started, load_before = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), os.getloadavg()
    begun, foreign = time.monotonic(), ForeignCpu()
    console.print(f"load average before: {load_before[0]:.2f}; the numbers are only as quiet as the machine")
    with TemporaryDirectory(dir=home, prefix=".run-") as directory, Crew(Path(directory)) as crew:
        room = prepare(scale, Path(directory), crew)
        samples, troubles = run(room, sections, console)
        body_bytes = mean_bytes(room.life_texts)
    facts = {
        "started": started,
        "took_s": round(time.monotonic() - begun, 1),
        "machine": report.machine(),
        "others_cpu_share": round(foreign.share(), 3),
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "body_bytes_mean": round(body_bytes),
        "scale": asdict(scale),
        "troubles": troubles,
    }
    summary = report.summarize(samples)
    target = home / f"{started}.json"
    rows = [asdict(sample) for sample in samples]
    target.write_text(
        json.dumps({**facts, "summary": summary, "samples": rows}, indent=1) + "\n", encoding="utf-8"
    )
    report.show(console, summary)
    report.show_facts(console, facts)
    console.print(f"[dim]samples: {target.relative_to(ROOT)}[/dim]")
    return 1 if troubles or not samples else 0


def _terminated(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
