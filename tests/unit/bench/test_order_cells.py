"""How the order comparison judges, and what it leaves behind."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.ordering import tables
from tests.bench.ordering.cells import BOUNDS_S, Cause, Cell, Policy, Subject, Verdict, tallied
from tests.bench.ordering.measures import Summary
from tests.bench.ordering.traffic import PACES, STRENGTHS, Kind, lives, streams

BOUND_S = BOUNDS_S[0]


def summary(inverted: float = 0.0, mean_s: float = 0.0, p50_s: float = 0.0) -> Summary:
    return Summary(1000, inverted, inverted, inverted, mean_s, p50_s, mean_s, mean_s, 0.0)


def cell(fixed: Summary, ours: Summary, best: Summary) -> Cell:
    found = {Subject(Policy.NO_WAIT, 0.0): summary(9.0)}
    for bound_s in BOUNDS_S:
        found |= {
            Subject(Policy.FIXED, bound_s): fixed,
            Subject(Policy.DEEDBOX, bound_s): ours,
            Subject(Policy.HINDSIGHT, bound_s): best,
        }
    return Cell(Kind.PROVABLE, "minutes", "a little", found)


FIXED = summary(1.0, 2.0, 2.0)


def test_the_target_is_met_with_as_few_inversions_at_a_tenth_of_the_wait() -> None:
    met = cell(FIXED, summary(1.0, 0.2), summary())
    assert met.verdict(BOUND_S).met
    assert met.times_cheaper(BOUND_S) == 10


@pytest.mark.parametrize(
    ("ours", "best", "expected"),
    [
        (summary(1.1, 0.1), summary(), Verdict(order=False, median=None, mean=None)),
        (summary(1.0, 0.21), summary(1.0, 0.2), Verdict(order=True, median=None, mean=Cause.IN_VAIN)),
        (summary(1.0, 0.21), summary(1.0, 0.21), Verdict(order=True, median=None, mean=Cause.NEEDED)),
        (summary(1.0, 0.2, 0.01), summary(1.0, 0.2), Verdict(order=True, median=Cause.IN_VAIN, mean=None)),
        (
            summary(1.0, 0.2, 0.01),
            summary(1.0, 0.2, 0.01),
            Verdict(order=True, median=Cause.NEEDED, mean=None),
        ),
    ],
)
def test_a_cell_that_misses_the_target_says_which_part_and_why(
    ours: Summary, best: Summary, expected: Verdict
) -> None:
    verdict = cell(FIXED, ours, best).verdict(BOUND_S)
    assert verdict == expected
    assert not verdict.met


def test_no_added_latency_at_all_is_cheaper_than_any_wait() -> None:
    free = cell(FIXED, summary(1.0), summary())
    assert free.verdict(BOUND_S).met
    json.dumps(free.as_json(), allow_nan=False)


def test_the_last_lines_count_what_was_met_and_why_not() -> None:
    cells = [cell(FIXED, summary(1.0, 0.1), summary()), cell(FIXED, summary(2.0, 0.1), summary())]
    lines = tables.target_lines(tables.target(cells))
    assert lines[0].startswith("target met in 3 of 6 ")
    assert lines[1].endswith(": 3")
    assert lines[2].endswith(": 6")
    assert len(lines) == 4, "the fixed wait leaves inversions everywhere"


def test_what_the_fixed_wait_orders_wholly_is_counted_apart() -> None:
    whole = summary(0.0, 2.0, 2.0)
    cells = [cell(whole, summary(0.0, 0.1), summary()), cell(whole, summary(1.0, 0.02), summary())]
    found = tables.target(cells)["wholly_ordered"]
    assert found == {"by_fixed_wait": 6, "by_deedbox": 3, "times_cheaper": [20.0, 60.0]}


def test_the_tables_show_every_cell() -> None:
    cells = []
    for kind in Kind:
        found = tallied(streams(lives(kind, PACES[0], 3), STRENGTHS[1]))
        cells.append(
            Cell(kind, "seconds", "some", {subject: tally.summary() for subject, tally in found.items()})
        )
    console = Console(width=150, record=True, file=StringIO())
    tables.show(console, cells)
    text = console.export_text()
    assert text.count("some ") >= len(cells)
    assert "target met in " in text


def test_lost_callbacks_are_shown_for_each_share_and_bound() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `bench`")
    from tests.bench.order import lost

    console = Console(width=150, record=True, file=StringIO())
    console.print(tables.losses({share: lost(share, 2) for share in (0.0, 0.5)}))
    text = console.export_text()
    cells = len(PACES) * len(STRENGTHS)
    assert text.count(f"{cells} of {cells}") >= 2 * len(BOUNDS_S)
    assert text.count("50%") == len(BOUNDS_S)


def test_a_run_writes_its_plots_and_returns_json_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `bench`")
    from tests.bench import order

    monkeypatch.setattr(order, "REQUESTS_QUICK", 2)
    found = order.run(quick=True, out=tmp_path / "new", console=Console(quiet=True))
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(found["plots"])
    assert len(found["cells"]) == len(Kind) * len(PACES) * len(STRENGTHS)
    json.dumps(found, allow_nan=False)
