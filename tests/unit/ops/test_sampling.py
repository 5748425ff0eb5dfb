"""Samples hold differences; charts add them up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deedbox.ops.charts import charts
from deedbox.ops.charts.sampling import quantile_ms, sample, totals_of
from deedbox.ops.readmodels.stages import Stage
from deedbox.ops.web.fresh import Fresh
from deedbox.shared.core.errors import RedisAway
from deedbox.shared.records.intake_report import IntakeReport, SourceReport
from deedbox.shared.records.sample import Sample, SampleTotals

NOW = 1_800_000_000.0
BOUNDS = (1.0, 10.0)


def web(
    process: str = "a:1", started_at: float = NOW - 20, counts: tuple[int, ...] = (0, 0, 0), **more: int
) -> IntakeReport:
    source = SourceReport(accepted=more.get("accepted", 0), refused={"bad_json": more.get("refused", 0)})
    return IntakeReport(process, NOW, started_at, BOUNDS, counts, {"default": source})


def totals(at: float = NOW, *reports: IntakeReport, **counters: int) -> SampleTotals:
    return totals_of(at, counters, reports)


def test_a_sample_holds_what_happened_since_the_one_before() -> None:
    before = totals(NOW - 10, web(accepted=5, refused=1, counts=(5, 0, 0)), released=7, duplicate=2)
    now = totals(NOW, web(accepted=9, refused=3, counts=(6, 3, 0)), released=10, duplicate=2)
    made = sample(before, now, {"inbox": Stage(4, 1.234), "broker": Stage(None), "dead": Stage(0)})
    assert made.span_s == 10
    assert (made.happened["released"], made.happened["duplicate"], made.happened["accepted"]) == (3, 0, 4)
    assert made.refused == {"bad_json": 2}
    assert list(made.acks) == [1, 3, 0]
    assert (made.depth, made.age_s) == ({"inbox": 4, "dead": 0}, {"inbox": 1.2})


def test_refusals_that_belong_to_no_source_are_counted_too() -> None:
    lost = IntakeReport("a:1", NOW, NOW - 5, BOUNDS, (0, 0, 0), {}, {"not_found": 4})
    assert sample(totals(NOW - 10), totals(NOW, lost), {}).refused == {"not_found": 4}


def test_the_first_sample_knows_no_rates() -> None:
    made = sample(None, totals(released=7), {"inbox": Stage(0)})
    assert (made.span_s, made.happened) == (None, {})


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    made = sample(totals(NOW - 10, released=100), totals(NOW, released=4), {})
    assert made.happened["released"] == 4


def test_a_restarted_web_process_counts_from_zero_even_with_the_same_pid() -> None:
    before = totals(NOW - 10, web(accepted=5, started_at=NOW - 500))
    made = sample(before, totals(NOW, web(accepted=8, started_at=NOW - 5)), {})
    assert made.happened["accepted"] == 8


def test_a_process_that_ran_unseen_for_long_adds_nothing_at_once() -> None:
    made = sample(
        totals(NOW - 10), totals(NOW, web(accepted=5000, started_at=NOW - 900, counts=(5, 0, 0))), {}
    )
    assert made.happened["accepted"] == 0
    assert not any(made.acks)


def test_a_clock_that_went_back_makes_a_sample_without_rates() -> None:
    assert sample(totals(NOW + 5, released=1), totals(NOW, released=9), {}).span_s is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [((0, 0, 0), 0.5, None), ((10, 0, 0), 0.5, 0.5), ((0, 10, 0), 0.5, 5.5), ((0, 0, 3), 0.99, 10.0)],
)
def test_a_quantile_lies_within_its_bucket(
    counts: tuple[int, ...], share: float, expected: float | None
) -> None:
    assert quantile_ms(BOUNDS, counts, share) == expected


def line(page: charts.ChartPage, chart: str, name: str) -> list[float | None]:
    [found] = [each for each in page.charts if each.name == chart]
    return next(series.values for series in found.series if series.name == name)


def test_a_chart_shows_rates_and_leaves_gaps_where_nobody_sampled() -> None:
    samples = [
        Sample(NOW - each, 10.0, {"inbox": 2}, {"inbox": 1.0}, {"accepted": 50}, {"bad_json": 1})
        for each in (890, 880, 20, 10, 0)
    ]
    page = charts.page(samples, 1, NOW)
    accepted = line(page, "rate", "accepted")
    assert accepted[-1] == 5.0
    assert None in accepted
    assert line(page, "refused", "bad_json")[-1] == 6.0
    assert line(page, "depth", "inbox")[-1] == 2
    assert line(page, "depth", "broker")[-1] is None
    assert len(page.times) == len(accepted) <= charts.POINTS + 1


def test_what_happened_during_an_outage_of_ops_is_no_peak_after_it() -> None:
    page = charts.page([Sample(NOW, 5000.0, {"inbox": 0}, {}, {"accepted": 100_000})], 1, NOW)
    assert line(page, "rate", "accepted")[-1] is None


def test_a_day_has_no_more_points_than_a_screen_can_show() -> None:
    samples = [Sample(NOW - 10 * each, 10.0, {"inbox": each % 7}) for each in range(8640)][::-1]
    page = charts.page(samples, 24, NOW)
    assert len(page.times) <= charts.POINTS + 1
    assert max(value or 0 for value in line(page, "depth", "inbox")) == 6


def test_lanes_are_added_up_and_the_sequencer_is_none() -> None:
    depth = {"lane:default": 2, "lane:crm": 3, "lane:sequencer": 9, "broker": 1, "claimed": 4}
    page = charts.page([Sample(NOW, 10.0, depth)], 1, NOW)
    assert (line(page, "depth", "lanes")[-1], line(page, "depth", "broker")[-1]) == (5, 5)


def test_an_empty_chart_says_so() -> None:
    assert {chart.summary for chart in charts.page([], 6, NOW).charts} == {
        "Nothing has been recorded in this time."
    }


def test_a_look_is_shared_for_a_moment_and_a_failed_one_is_not_kept() -> None:
    clock, looks = [0.0], iter([1, 2])

    def look() -> int:
        if clock[0] == 0.5:
            raise OSError("away")
        return next(looks)

    fresh = Fresh(look, 1.0, lambda: clock[0])
    clock[0] = 0.5
    with pytest.raises(OSError, match="away"):
        fresh.get()
    clock[0] = 1.0
    assert [fresh.get(), fresh.get()] == [1, 1]
    clock[0] = 2.0
    assert fresh.get() == 2


def test_those_who_waited_for_a_failing_look_share_its_failure() -> None:
    """Law: while Redis is away, ten browsers wait for one time-out, not for ten in a row."""
    looking, fail = threading.Event(), threading.Event()
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        looking.set()
        fail.wait(10)
        raise RedisAway("timed out")

    fresh = Fresh(look, 1.0)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(fresh.get)
        assert looking.wait(10)
        waiting = [pool.submit(fresh.get) for _ in range(3)]
        time.sleep(0.2)  # until they wait for the lock, at which nothing can be seen
        fail.set()
        for asked in (first, *waiting):
            with pytest.raises(RedisAway):
                asked.result(10)
    assert len(looks) == 1
