"""Laws of the sections that are modules of their own: their results become rows of the targets table."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import others


@pytest.mark.parametrize("name", others.NAMES)
def test_each_is_a_module_that_names_itself_and_runs(name: str) -> None:
    pytest.importorskip("matplotlib")
    module = import_module(f"tests.bench.{name}")
    assert name == module.NAME
    assert list(signature(module.run).parameters) == ["quick", "out", "console"]


def test_none_of_them_runs_unless_it_was_asked_for(tmp_path: Path) -> None:
    assert others.run(("ingress",), quick=True, out=tmp_path, console=Console(quiet=True)) == ({}, [], [])


def test_growth_is_met_up_to_its_bound() -> None:
    growth = {"backlog": {"bridge": 1.5, "lane": 1.51}, "one key": {"lane": 2.0}}
    rows = others.growth_verdicts({"flat_within": {"backlog": 1.5, "one key": 2.0}, "growth": growth})
    assert [row.met for row in rows] == [True, False, True]


def test_round_trips_are_those_of_deedbox_under_delay() -> None:
    runs = [
        {"subject": "Deedbox", "delay_ms": 2.0, "turns_per_event": 0.2},
        {"subject": "Deedbox", "delay_ms": 0.0, "turns_per_event": 0.01},
        {"subject": "RQ SimpleWorker", "delay_ms": 2.0, "turns_per_event": 20.0},
    ]
    (row,) = others.delay_verdicts({"runs": runs, "target_turns_per_event": 0.1})
    assert (row.measured, row.met) == ("0.200", False)


def test_order_is_met_only_in_every_traffic() -> None:
    assert others.order_verdicts({"target": {"cells": 9, "met": 9}})[0].met
    assert not others.order_verdicts({"target": {"cells": 9, "met": 8}})[0].met


def test_up_is_met_by_its_idle_memory_and_its_middle_start() -> None:
    found = {"idle_mb": 300.0, "after_events_mb": 900.0, "ready_s": [9.0, 1.9, 1.8], "target_mb": 320}
    rows = others.idle_verdicts(found | {"target_ready_s": 2.0})
    assert [(row.measured, row.met) for row in rows] == [("300", True), ("1.90", True)]
    rows = others.idle_verdicts(found | {"target_ready_s": 1.5, "target_mb": 299})
    assert [row.met for row in rows] == [False, False]


def test_stored_bytes_are_judged_per_form() -> None:
    found = {"busy": 1_700.2, "archived": 499.9, "targets": {"busy": 1_600, "archived": 500}}
    rows = others.kept_verdicts(found)
    assert [(row.measured, row.met) for row in rows] == [("1700", False), ("500", True)]
