"""Laws of the targets table: ratios of medians of one run, met or not, and silent about what was not measured."""

from __future__ import annotations

import pytest

from tests.bench import end_to_end, layouts
from tests.bench.room import Sample
from tests.bench.targets import TARGETS, Target, Verdict, judge

FASTER = Target("rate", "s", "ours", "per_s", "theirs", 4.5, at_least=True)
CHEAPER = Target("CPU", "s", "ours", "cpu", "theirs", 1 / 8, at_least=False)
SMALL = Target("bytes", "s", "ours", "bytes", None, 100, at_least=False)


def run(name: str, ours: list[float], theirs: list[float]) -> list[Sample]:
    return [
        Sample("s", subject, {name: value}, round=number)
        for subject, values in (("ours", ours), ("theirs", theirs))
        for number, value in enumerate(values)
    ]


def one(samples: list[Sample], target: Target) -> Verdict:
    (verdict,) = judge(samples, [target])
    return verdict


@pytest.mark.parametrize(("ours", "met"), [(450.0, True), (449.0, False)])
def test_a_rate_is_met_from_its_bound_upwards(ours: float, met: bool) -> None:  # noqa: FBT001
    assert one(run("per_s", [ours], [100.0]), FASTER).met is met


@pytest.mark.parametrize(("ours", "met"), [(1.0, True), (1.01, False)])
def test_a_cost_is_met_from_its_bound_downwards(ours: float, met: bool) -> None:  # noqa: FBT001
    assert one(run("cpu", [ours], [8.0]), CHEAPER).met is met


def test_a_verdict_compares_medians_and_shows_the_range_of_the_ratios_within_rounds() -> None:
    verdict = one(run("per_s", [400.0, 500.0, 900.0], [100.0, 100.0, 100.0]), FASTER)
    assert verdict.met
    assert verdict.measured == "5.00x (4.00x - 9.00x)"


def test_a_fraction_is_written_as_its_target_is() -> None:
    verdict = one(run("cpu", [1.0], [16.0]), CHEAPER)
    assert (verdict.target, verdict.measured) == ("at most 1/8", "1/16")


def test_a_bound_without_a_peer_is_a_value() -> None:
    assert one([Sample("s", "ours", {"bytes": 62.0})], SMALL) == Verdict(
        "bytes", "at most 100", "62", met=True
    )


def test_a_subject_that_failed_is_reported_as_not_measured() -> None:
    verdict = one(run("per_s", [400.0], []), FASTER)
    assert (verdict.measured, verdict.met) == ("not measured", None)


def test_rounds_in_which_one_of_the_two_failed_do_not_pair() -> None:
    samples = [
        Sample("s", "ours", {"per_s": 500.0}, round=0),
        Sample("s", "ours", {"per_s": 900.0}, round=1),
        Sample("s", "theirs", {"per_s": 100.0}, round=0),
    ]
    assert one(samples, FASTER).measured == "7.00x"


def test_sections_that_did_not_run_have_no_verdict() -> None:
    assert judge([Sample(end_to_end.SECTION, end_to_end.DEEDBOX, {"per_s": 1.0})], [FASTER]) == []


def test_a_row_that_is_only_shown_is_neither_met_nor_missed() -> None:
    shown = Target("rate", "s", "ours", "per_s", "theirs", 4.5, at_least=True, judged=False)
    verdict = one(run("per_s", [400.0], [100.0]), shown)
    assert (verdict.target, verdict.met) == ("", None)


def test_targets_name_subjects_that_their_sections_measure() -> None:
    rows = {layout.section: set(layout.rows) for layout in layouts.LAYOUTS}
    for target in TARGETS:
        assert target.subject in rows[target.section], target
        assert target.peer is None or target.peer in rows[target.section], target
        assert target.at_least == (target.name == "per_s")
