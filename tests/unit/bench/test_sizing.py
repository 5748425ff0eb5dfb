"""What a load needs follows from the page's figures."""

from __future__ import annotations

import pytest

from tests.bench.sizing import PAGE, Load, figures, size, table

TEXT = PAGE.read_text("utf-8")

COSTS = {
    "c_web": 0.5, "r_web": 0.05, "c_bridge": 0.03, "r_bridge": 0.01, "c_seq": 0.2,
    "r_seq": 0.05, "c_lane": 0.2, "r_lane": 0.05, "b_broker": 1000, "b_kept": 2000, "b_spool": 400, "f_in": 1000,
    "f_life": 5000, "b_busy": 0, "r_archive": 0, "f_archive": 0, "d_spool": 10_000,
}  # fmt: skip


def test_signs_and_values_of_a_row_belong_together_in_order() -> None:
    page = "## Figures\n\n| `a`, `b` | two things | 1,234; 0.5 | `x` |\n| `c` | one thing | 7 | the same |\n| | none | 1 | |\n"
    page += "## Else\n\n| `d` | a thing | 8 | `x` |\n"
    assert figures(page) == {"a": 1234.0, "b": 0.5, "c": 7.0}


def test_the_page_has_a_value_for_every_sign_that_the_formulas_need() -> None:
    assert set(COSTS) <= set(figures(TEXT))


def test_there_is_at_least_one_process_of_each_kind_and_more_where_the_work_needs_them() -> None:
    small, large = size(Load(1, 1000), COSTS), size(Load(10_000, 1e8, share=0), COSTS)
    assert small["bridges"].startswith("1 ")
    assert large["bridges"].startswith("1 ")
    assert large["sequencers"].startswith("3 ")


def test_an_action_that_takes_time_needs_processes_for_its_time() -> None:
    # 100/s, one in two takes 100 ms: 5 are busy at any time, at 60 % of each.
    assert size(Load(100, 1e6, action_s=0.1, share=0.5), COSTS)["processes of the lane"].startswith("9 ")


def test_memory_is_what_is_kept_and_what_waits_with_room_below_the_point_where_ingress_spools() -> None:
    found = size(Load(100, 864_000, days=10, outage_s=1000), COSTS)
    assert found["kept events in Redis"] == "17.3 GB"
    assert found["waiting after 17 min without workers"] == "10,000 callbacks, 10.0 MB"
    assert found["`maxmemory`"] == "21.6 GB"  # (10 MB + 17.28 GB + 10 MB) / 0.8


def test_a_spool_is_filled_by_the_peak_on_all_hosts_together() -> None:
    found = size(Load(100, 1e6, outage_s=600, hosts=2), COSTS)
    assert found["spool of each of 2 hosts, 10 min at the peak"] == "12.0 MB"
    assert found["drained in"] == "0.1 min"


@pytest.mark.parametrize(
    "line", table([Load(50, 200_000), Load(1000, 2_000_000)], figures(TEXT)).splitlines()
)
def test_the_examples_of_the_page_are_what_its_own_figures_give(line: str) -> None:
    assert line in TEXT.splitlines(), "python -m tests.bench.sizing prints them anew"
