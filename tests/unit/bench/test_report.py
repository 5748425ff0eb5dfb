"""Laws of the tables: a ratio says how many times better a row is, whichever direction is better."""

from __future__ import annotations

from rich.console import Console

from tests.bench import end_to_end, latency, layouts, memory, report
from tests.bench.layouts import LAYOUTS, Column, Ratio
from tests.bench.room import Sample


def shown(*samples: Sample) -> str:
    console = Console(width=220, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        report.show(console, report.summarize(samples))
    return captured.get()


def row(text: str, subject: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"│ {subject} "))
    return [cell.strip() for cell in line.split("│")[1:-1]]


def samples(section: str, name: str, values: dict[str, list[float]]) -> list[Sample]:
    return [
        Sample(section, subject, {name: value}, round=number)
        for subject, each in values.items()
        for number, value in enumerate(each)
    ]


def test_twice_the_rate_is_twice_as_good() -> None:
    text = shown(
        *samples(
            end_to_end.SECTION,
            "per_s",
            {end_to_end.DEEDBOX: [200.0, 210.0, 190.0], end_to_end.CELERY: [100.0, 95.0, 105.0]},
        )
    )
    assert "2.00" in row(text, end_to_end.DEEDBOX)
    assert "0.50" not in row(text, end_to_end.DEEDBOX)


def test_half_the_time_is_twice_as_good() -> None:
    text = shown(*samples(latency.SECTION, "p50_ms", {"Deedbox": [5.0], "Flask + Celery": [10.0]}))
    assert "2.00" in row(text, "Deedbox")
    assert "1.00" in row(text, "Flask + Celery")


def test_a_peer_that_was_not_measured_has_no_column() -> None:
    text = shown(*samples(memory.SECTION, "memory_bytes", {memory.BROKER: [700.0]}))
    assert "x Celery" not in text
    assert row(text, memory.BROKER)[1] == "700"


def test_a_ratio_of_rounds_that_differ_much_is_marked_as_a_guess() -> None:
    text = shown(*samples(latency.SECTION, "p50_ms", {"Deedbox": [5.0, 9.0], "Flask + Celery": [10.0, 10.0]}))
    assert any(cell.startswith("~") for cell in row(text, "Deedbox"))


def test_a_summary_has_the_median_and_the_range_of_the_rounds() -> None:
    found = report.summarize(samples("s", "per_s", {"a": [3.0, 1.0, 8.0]}))
    assert found["s"]["a"]["per_s"] == {"median": 3.0, "min": 1.0, "max": 8.0, "rounds": 3}


def test_every_peer_of_a_ratio_is_a_row_of_its_table() -> None:
    for layout in LAYOUTS:
        assert {column.peer for column in layout.columns if isinstance(column, Ratio)} <= set(layout.rows)


def test_rates_are_better_when_higher_and_all_else_when_lower() -> None:
    for layout in LAYOUTS:
        for column in layout.columns:
            if isinstance(column, Ratio):
                assert column.higher_is_better == (column.name == "per_s")
    assert isinstance(layouts.LAYOUTS[0].columns[0], Column)
