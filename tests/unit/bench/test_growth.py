"""How the section on cost growth judges what it measured."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tests.bench import growth, shapes
from tests.bench.growth import BACKLOG, FULL, KEYS, ONE_KEY, QUICK, Found, grown
from tests.bench.stages import LANE, STAGES, Share


def _found(series: str, size: int, cost: dict[str, float]) -> Found:
    found = Found(series, size, size)
    for stage in STAGES:
        cpu_s = cost.get(stage, 0.1)
        found.shares[stage] = [Share(1000, 1.0, cpu_s, cpu_s), Share(2000, 2.0, 2 * cpu_s, 2 * cpu_s)]
        found.depth[stage] = size
        found.peak_mb[stage] = 70.0
    return found


def test_a_cost_is_that_of_the_process_and_of_redis() -> None:
    share = Share(2000, 4.0, 0.3, 0.1)
    assert share.cpu_s_per_1000 == pytest.approx(0.2)
    assert share.redis_cpu_s_per_1000 == pytest.approx(0.05)
    assert share.per_s == 500


def test_every_case_is_compared_with_the_smallest_backlog() -> None:
    found = [_found(BACKLOG, 1_000, {}), _found(BACKLOG, 10_000, {}), _found(ONE_KEY, 1_000, {LANE: 0.6})]
    assert grown(found)[ONE_KEY][LANE] == pytest.approx(6)
    assert grown(found)[BACKLOG][LANE] == pytest.approx(1)


def test_the_report_says_which_series_is_not_flat() -> None:
    text = io.StringIO()
    found = [_found(BACKLOG, 1_000, {}), _found(KEYS, 10, {}), _found(ONE_KEY, 1_000, {LANE: 0.6})]
    growth.show(Console(file=text, width=150), found, ["keys 7: no time was left"])
    said = text.getvalue()
    assert "lane 6.00: NOT flat within 2" in said
    assert "lane 1.00: flat" in said
    assert "NOT MEASURED: keys 7" in said


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_a_plan_begins_with_the_backlog_that_everything_is_compared_with(plan: growth.Plan) -> None:
    first = plan.groups[0][0]
    assert (first.series, first.size) == (BACKLOG, 1_000)


def test_two_backlogs_have_no_request_in_common() -> None:
    def requests(amount: int) -> set[str]:
        traffic = shapes.keyed(3)
        return {next(traffic).key for _ in range(amount)}

    one, other = requests(9), requests(9)
    assert len(one) == len(other) == 3
    assert not one & other


def test_the_events_of_a_key_are_seconds_apart_in_their_order() -> None:
    from deedbox.shared import codec

    traffic = shapes.keyed(2)
    events = [json.loads(codec.body_of(next(traffic)))["event"] for _ in range(6)]
    times = [int(event["event_time"]) for event in events[::2]]
    assert [event["event_type"] for event in events[:4]] == ["signature_request_sent"] * 2 + [
        "signature_request_viewed"
    ] * 2
    assert times == sorted(set(times))
