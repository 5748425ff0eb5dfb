"""Every warning names what is wrong and the command that helps; a healthy installation gives none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deedbox.ops.readmodels.broker import BrokerView
from deedbox.ops.readmodels.budget import Budget
from deedbox.ops.readmodels.stages import Lane, Stage, Survey
from deedbox.ops.readmodels.status import Status, starvation, warnings
from deedbox.ops.readmodels.workforce import Worker, living, of_reply

NOW = 1_800_000_000.0
WORKER = Worker("w", "crm", "idle", 1.0)
HEALTHY_VIEW = BrokerView(Stage(0), Stage(0), bridges=1)


def _survey(lane: Lane, *, workers: tuple[Worker, ...] = (WORKER,), dead: int = 0) -> Survey:
    empty = Stage(0)
    return Survey(NOW, empty, empty, Stage(dead), {}, lanes=[lane], workers=list(workers))


LANE = Lane("crm", Stage(5, 1.0), waiting=0)


def test_a_healthy_installation_gives_no_warning() -> None:
    assert warnings(Status(_survey(LANE), HEALTHY_VIEW)) == []


def test_a_lane_with_work_needs_a_worker() -> None:
    [said] = warnings(Status(_survey(LANE, workers=()), HEALTHY_VIEW))
    assert "deedbox worker --lane crm" in said


def test_an_empty_lane_needs_none() -> None:
    lane = replace(LANE, stage=Stage(0))
    assert warnings(Status(_survey(lane, workers=()), HEALTHY_VIEW)) == []


@pytest.mark.parametrize(
    ("view", "command"),
    [
        (BrokerView(Stage(2, 1.0), Stage(0), bridges=0), "deedbox bridge"),
        (BrokerView(Stage(0), Stage(2, 1.0), bridges=0), "deedbox bridge"),
        (BrokerView(Stage(900, 60.0), Stage(250, 1.0), bridges=1), "does not keep up"),
        (BrokerView(Stage(None), Stage(None), bridges=1, trouble="TimeoutError"), "deedbox check"),
    ],
)
def test_callbacks_that_wait_in_the_broker_need_a_bridge(view: BrokerView, command: str) -> None:
    [said] = warnings(Status(_survey(LANE), view))
    assert command in said


def test_work_that_is_due_for_long_needs_a_sweeper() -> None:
    [said] = warnings(Status(_survey(replace(LANE, overdue_s=60.0)), HEALTHY_VIEW))
    assert "deedbox sweeper" in said
    held = replace(_survey(LANE), overdue_holds_s=60.0)
    [said] = warnings(Status(held, HEALTHY_VIEW))
    assert "deedbox sweeper" in said


def test_a_hold_that_was_woken_waits_for_the_sequencer_and_not_for_a_sweeper() -> None:
    worker = replace(WORKER, lane="sequencer")
    survey = _survey(Lane("sequencer", Stage(1, 60.0), waiting=0), workers=(worker,))
    survey.overdue_holds_s = 60.0
    assert warnings(Status(survey, HEALTHY_VIEW)) == []


def test_dead_letters_need_a_person() -> None:
    [said] = warnings(Status(_survey(LANE, dead=1), HEALTHY_VIEW))
    assert said == "1 dead letter waits for a person: `deedbox dead list`."


def test_a_worker_lives_by_its_heartbeat_or_while_busy_by_its_lanes_lease() -> None:
    silent = replace(WORKER, heartbeat_age_s=600.0)
    busy = replace(silent, state="busy")
    assert living([WORKER], {}) == [WORKER]
    assert living([silent], {"crm": True}) == []
    assert living([busy], {"crm": True}) == [busy]
    assert living([busy], {"crm": False}) == []


def test_workers_of_other_applications_are_none_of_ours() -> None:
    beat = b"2027-01-15T08:00:00.000000Z"
    assert of_reply(b"rq:worker:a", [b"mail", b"idle", beat], NOW) == []
    assert of_reply(b"rq:worker:b", [None, None, None], NOW) == []
    assert of_reply(b"rq:worker:c", [b"deedbox.crm", b"idle", beat], NOW) == [Worker("c", "crm", "idle", 0.0)]


@pytest.mark.parametrize(("count", "told"), [(0, False), (4, False), (5, True), (10, True)])
def test_a_source_that_refuses_everything_is_told_before_the_url_is_gone(count: int, told: bool) -> None:  # noqa: FBT001
    status = Status(_survey(LANE), HEALTHY_VIEW, refusing={"emea": count})
    assert bool(status.document()["warnings"]) is told
    assert ("emea" in str(status.document()["warnings"])) is told


def test_calls_that_wait_for_the_apis_budget_are_told_from_calls_that_fail() -> None:
    survey = _survey(LANE)
    survey.retrying = Stage(18, 30.0)
    used_up = (Budget("default", "files", 15, 0),)
    [said] = starvation(Status(survey, HEALTHY_VIEW, used_up=used_up))
    assert "files of source default (15 a minute)" in said
    assert said in Status(survey, HEALTHY_VIEW, used_up=used_up).document()["warnings"]


def test_a_used_up_budget_that_nobody_waits_for_is_no_news() -> None:
    assert starvation(Status(_survey(LANE), HEALTHY_VIEW, used_up=(Budget("default", "api", 60, 0),))) == []
