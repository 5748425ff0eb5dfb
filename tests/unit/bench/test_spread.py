"""What repeated measurements become."""

from __future__ import annotations

import pytest

from tests.bench.spread import growth, per_item, spread


def test_the_median_of_an_even_number_of_values_is_between_the_two_in_the_middle() -> None:
    found = spread([4.0, 1.0, 2.0, 10.0])
    assert (found.median, found.low, found.high, found.count) == (3.0, 1.0, 10.0, 4)


def test_a_single_value_has_no_range() -> None:
    assert spread([1234.5]).text() == "1,234"
    assert spread([1.0, 3.0]).text(1) == "2.0 (1.0-3.0)"


def test_growth_is_a_factor_and_a_base_of_nothing_gives_none() -> None:
    assert growth(0.2, 0.3) == pytest.approx(1.5)
    assert growth(0.0, 0.3) == 1.0


def test_what_one_more_item_adds_does_not_count_what_is_there_without_any() -> None:
    assert per_item([0, 100, 200], [5_000, 15_000, 25_000]) == pytest.approx(100)
