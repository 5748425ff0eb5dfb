"""The promises hold on every schedule; a schedule replays exactly; known faults are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.simulation.__main__ import simulate
from tests.simulation.mutants import MUTANTS
from tests.simulation.scheduler import Recorder, Trace

SCHEDULES: Final = int(os.environ.get("DEEDBOX_SIM_SCHEDULES", "600"))
"""Schedules of one run: about a minute and a half on two cores. More: DEEDBOX_SIM_SCHEDULES=20000."""

FOUND_WITHIN: Final = 400
"""Seeds within which a planted fault must show: fewer than a run has."""

LONGEST: Final = (1070,)
"""Seeds beyond those of one run, which rest minutes after their last fault."""

FIRST: Final = {
    "what_is_synthesised_gives_way_to_nothing": 225,
    "an_archive_of_what_changed_since_it_was_read": 50,
    "better_body_is_not_taken": 30,
    "erasure_undone_by_a_call": 28,
    "a_flood_that_starts_again_with_each_batch": 17,
    "a_pause_of_a_request_that_is_not_looked_at": 10,
    "a_resume_that_wakes_nothing": 10,
    "each_lane_has_leases_of_its_own": 10,
    "release_without_fencing": 10,
}
"""Where the search for a fault begins: just before a seed that showed it, as each seed takes 0.3 s."""

JOBS: Final = 2


def run(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        check=False, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )  # fmt: skip


@contextmanager
def restless_threads() -> Iterator[None]:
    """Make the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.mark.timeout(max(120, SCHEDULES))
def test_every_schedule_keeps_the_promises() -> None:
    done = run("--schedules", str(SCHEDULES), "--jobs", str(JOBS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", LONGEST)
def test_a_schedule_that_rests_late_keeps_the_promises(seed: int) -> None:
    """Several calls that keep the interpreter, one after the other, beside a sweeper that is always looking."""
    assert simulate(seed, None, Trace()) == []


def test_the_promises_hold_with_a_key_ring_too() -> None:
    """More: ``python -m tests.simulation --encrypted --schedules 2000``."""
    done = run("--encrypted", "--schedules", "20")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", range(3, 6))
def test_a_seed_replays_exactly(seed: int) -> None:
    """Neither the hash seed, nor other seeds that ran before, nor the switching of threads changes a step."""
    told = {run("--seed", str(seed), hash_seed=hash_seed).stdout for hash_seed in ("1", "2")}
    with restless_threads():
        recorder = Recorder()
        simulate(seed, None, recorder)
    assert told == {f"seed {seed} trace {recorder.digest()}\n"}


@pytest.mark.timeout(FOUND_WITHIN)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_fault_is_found(mutant: str) -> None:
    first = FIRST.get(mutant, 0)
    seeds = range(first, first + FOUND_WITHIN)
    found = next((seed for seed in seeds if simulate(seed, mutant, Trace())), None)
    assert found is not None
    assert simulate(found, None, Trace()) == [], "without the fault, the same seed keeps the promises"


def test_a_failing_seed_says_how_to_replay_it() -> None:
    """What the command prints runs as it stands, and fails again in the same way."""
    failed = run("--schedules", str(FOUND_WITHIN), "--mutant", "ack_before_append")
    assert failed.returncode == 1
    line = next(line for line in failed.stdout.splitlines() if "replay: " in line)
    words = line.partition("replay: python -m tests.simulation ")[2].split()
    replayed = run(*words)
    assert replayed.returncode == 1
    assert line in replayed.stdout
    assert "fault: " in replayed.stdout, "the trace shows the faults"
