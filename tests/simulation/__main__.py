"""``python -m tests.simulation``: run schedules, or replay one. Exit code 1 if a law was broken."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence

from deedbox.shared import sealing
from deedbox.shared.sealing.key_ring import KeyRing
from tests.simulation.laws import broken
from tests.simulation.mutants import MUTANTS, SOUND
from tests.simulation.scheduler import Recorder, Trace
from tests.simulation.world import World


def main(argv: Sequence[str] | None = None) -> int:
    """Run. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    sealing.install(KeyRing([bytes(range(32))]) if arguments.encrypted else None)
    if arguments.seed is not None:
        return _replay(arguments.seed, arguments.mutant, trace=arguments.trace)
    if arguments.jobs > 1:
        return _share(arguments)
    return _sweep(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this schedule only")
    parser.add_argument("--trace", action="store_true", help="with --seed: show every step")
    parser.add_argument("--schedules", type=int, default=1000, help="how many to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first (default 0)")
    parser.add_argument("--step", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=1, help="processes to run them in (default 1)")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plant a known fault")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failing seed")
    parser.add_argument(
        "--encrypted",
        action="store_true",
        help="with a key ring; such a schedule does not replay to the byte",
    )
    return parser


def simulate(seed: int, mutant: str | None, trace: Trace) -> list[str]:
    """Run one schedule. Returns the broken laws."""
    world = World(seed, SOUND if mutant is None else MUTANTS[mutant], trace)
    world.run()
    return broken(world)


def show(line: str) -> None:
    """Print a line of the trace: long texts shortened, what scripts were told first left out."""
    print(re.sub(r"('|\")((?:(?!\1).){40})(?:(?!\1).){12,}\1", r"\1\2...\1", line))  # noqa: T201


def _replay(seed: int, mutant: str | None, *, trace: bool) -> int:
    recorder = Recorder(show if trace else None)
    failures = simulate(seed, mutant, recorder)
    _tell(seed, mutant, failures)
    print(f"seed {seed} trace {recorder.digest()}")  # noqa: T201
    return 1 if failures else 0


def _sweep(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    failing = ran = 0
    for number in range(arguments.schedules):
        seed = arguments.first + number * arguments.step
        failures = simulate(seed, arguments.mutant, Trace())
        ran += 1
        if failures:
            failing += 1
            _tell(seed, arguments.mutant, failures)
            if not arguments.keep_going:
                break
    took_s = time.monotonic() - began
    print(f"{ran} schedules, {failing} failing, {took_s:.1f} s, {ran / took_s:.0f} schedules/s")  # noqa: T201
    return 1 if failing else 0


def _share(arguments: argparse.Namespace) -> int:
    """Run the seeds in several processes, dealt out in turn."""
    command = [sys.executable, "-m", "tests.simulation", "--step", str(arguments.jobs)]
    command += ["--schedules", str(-(-arguments.schedules // arguments.jobs))]
    command += ["--mutant", arguments.mutant] if arguments.mutant else []
    command += ["--keep-going"] if arguments.keep_going else []
    command += ["--encrypted"] if arguments.encrypted else []
    children = [
        subprocess.Popen([*command, "--first", str(arguments.first + number)])
        for number in range(arguments.jobs)
    ]
    return max(child.wait() for child in children)


def _tell(seed: int, mutant: str | None, failures: Sequence[str]) -> None:
    if not failures:
        return
    extra = f" --mutant {mutant}" if mutant else ""
    print(f"seed {seed} broke a law; replay: python -m tests.simulation --seed {seed}{extra} --trace")  # noqa: T201
    for failure in failures[:8]:
        print(f"  {failure}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
