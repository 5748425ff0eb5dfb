"""Laws of a run's plan: what is measured, in which order, and what a section asks for."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tests.bench import end_to_end, ingress, latency, subjects, targets, workers
from tests.bench.__main__ import SECTIONS, plan
from tests.bench.generator import Generator
from tests.bench.processes import Crew
from tests.bench.room import FULL, QUICK, Room, Scale


def names(sections: tuple[str, ...], number: int, scale: Scale = FULL) -> list[str]:
    nowhere = Path("/nonexistent")
    room = Room(scale, nowhere, Crew(nowhere), cast("Generator", None), nowhere, nowhere, [])
    return [name for name, _ in plan(room, sections, number)]


def test_every_other_round_runs_backwards() -> None:
    assert names(SECTIONS, 2) == names(SECTIONS, 1)[::-1]
    assert names(SECTIONS, 3) == names(SECTIONS, 1)


def test_every_subject_is_measured_once_in_a_round() -> None:
    found = names(SECTIONS, 1)
    assert len(found) == len(set(found))
    assert {name for name in found if name.startswith("ingress")} == {
        f"{ingress.KEPT}: {each}" for each in subjects.QUEUES
    }
    assert {f"end to end: {each}" for each in end_to_end.STACKS} <= set(found)
    assert {f"latency: {each}" for each in latency.SUBJECTS} <= set(found)
    assert {f"workers: {each}" for each in workers.QUEUES} <= set(found)


def test_memory_which_does_not_vary_is_weighed_in_the_first_round_only() -> None:
    assert any(name.startswith("memory") for name in names(SECTIONS, 0))
    assert not any(name.startswith("memory") for name in names(SECTIONS, 1))


def test_a_section_alone_measures_nothing_else() -> None:
    for section, begin in (
        ("ingress", "ingress, "),
        ("end-to-end", "end to end: "),
        ("latency", "latency: "),
    ):
        found = names((section,), 0)
        assert found
        assert all(name.startswith(begin) for name in found)


def test_a_full_run_has_at_least_five_rounds_for_its_medians() -> None:
    assert FULL.rounds >= 5


def test_whoever_receives_callbacks_in_the_latency_section_has_workers_and_is_known_to_be_ready() -> None:
    assert set(subjects.CONSUMERS) == set(subjects.BLOCKED)
    assert set(latency.SUBJECTS) <= set(subjects.QUEUES)
    assert {stack.ingress for stack in end_to_end.STACKS.values()} <= set(subjects.QUEUES)


def test_a_quick_run_leaves_out_only_what_no_target_names() -> None:
    left_out = set(names(SECTIONS, 0)) - set(names(SECTIONS, 0, QUICK))
    assert left_out
    assert not {tuple(name.split(": ", 1)) for name in left_out} & targets.NAMED
