"""Past one Redis: the model follows from the measured figures, and the page says what the model says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.processes import ROOT
from tests.bench.scale import RATES, World, installations, kept_at, limits, redis_ms, report, scale
from tests.bench.sizing import PAGE, figures

COSTS = figures(PAGE.read_text("utf-8"))
WORLD = World()
TEXT = (ROOT / "docs" / "scale.md").read_text("utf-8")


@pytest.mark.parametrize("line", [row for row in report(RATES, WORLD, COSTS).splitlines() if row])
def test_the_tables_of_the_page_are_what_the_command_prints(line: str) -> None:
    assert line in TEXT.splitlines(), "python -m tests.bench.sizing --scale prints them anew"


def test_the_page_has_no_row_that_the_command_does_not_print() -> None:
    first, second = report(RATES, WORLD, COSTS).split("\n\n")
    for table in (first, second):
        assert f"\n\n{table}\n\n" in TEXT


def test_the_first_limit_comes_first() -> None:
    rates = [rate for rate, _, _ in limits(WORLD, COSTS)]
    assert rates == sorted(rates)


def test_a_broker_of_its_own_takes_work_off_redis() -> None:
    assert redis_ms(COSTS, broker_apart=True) < redis_ms(COSTS, broker_apart=False)


def test_twice_the_memory_or_half_the_days_keep_twice_the_callbacks() -> None:
    once = kept_at(64, WORLD, COSTS)
    assert kept_at(128, WORLD, COSTS) == pytest.approx(2 * once)
    assert kept_at(64, replace(WORLD, days=14), COSTS) == pytest.approx(once / 2)


def test_what_needs_most_decides_how_many_installations_there_are() -> None:
    assert installations(1, WORLD, COSTS) == (1, "nothing")
    count, why = installations(10_000, WORLD, COSTS)
    assert (why, count) == ("memory", 7)
    # Where events took no room, the core of Redis would decide.
    assert installations(100_000, WORLD, {**COSTS, "b_kept": 1e-9}) == (30, "Redis's core")


def test_ten_times_a_large_load_costs_ten_times_as_much_and_a_small_one_costs_the_least() -> None:
    """A small installation has two machines of each kind, whatever it needs of them: it costs more for each callback."""
    month = {
        rate: int(scale(rate, WORLD, COSTS)["dollars a month"].removeprefix("10^"))
        for rate in (*RATES, 10 * RATES[-1])
    }
    assert month[10 * RATES[-1]] - month[RATES[-1]] == 1
    assert [month[rate] for rate in RATES] == sorted({month[rate] for rate in RATES})
