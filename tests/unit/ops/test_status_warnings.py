"""Every warning names what is wrong and the command that helps; a healthy installation gives none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deedbox.ops.alerts.standing import HOLD_S, compare
from deedbox.ops.readmodels.attention import AttentionKind, Severity, redis_away
from deedbox.ops.readmodels.broker import BrokerView
from deedbox.ops.readmodels.budget import BudgetUse
from deedbox.ops.readmodels.stages import Lane, Stage, Survey, UnknownCalls, WaitingHead
from deedbox.ops.readmodels.status import Status
from deedbox.ops.readmodels.workforce import Worker, living
from deedbox.ops.wording import fault_alerts
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import Pause, PauseTarget
from deedbox.shared.records.presence import LostCall, Presence, Restart, dump
from deedbox.shared.records.spool_mark import SpoolMark, SpoolMarks

NOW = 1_800_000_000.0
WORKER = Worker("w", "crm", "idle", 1.0)
HEALTHY_VIEW = BrokerView(Stage(0), Stage(0), bridges=1)


def _survey(lane: Lane, *, workers: tuple[Worker, ...] = (WORKER,), dead: int = 0) -> Survey:
    empty = Stage(0)
    return Survey(NOW, empty, empty, Stage(dead), {}, lanes=[lane], workers=list(workers))


LANE = Lane("crm", Stage(5, 1.0), waiting=0)


def test_a_healthy_installation_gives_no_warning() -> None:
    assert Status(_survey(LANE), HEALTHY_VIEW).attentions == []


@pytest.mark.parametrize(
    ("age_s", "kind"), [(60.0, AttentionKind.PAUSED), (90_000.0, AttentionKind.PAUSED_LONG)]
)
def test_a_pause_is_shown_and_becomes_an_alert_after_a_day(age_s: float, kind: AttentionKind) -> None:
    pause = Pause(PauseTarget(PauseKind.ACTION, "crm"), 1, NOW - age_s, "ann", "the CRM is away")
    survey = replace(_survey(replace(LANE, stage=Stage(5, 7200.0))), pauses=(pause,))
    [said] = Status(survey, HEALTHY_VIEW).attentions
    assert (said.kind, said.severity) == (kind, Severity.NOTICE)
    assert "ann: the CRM is away" in said.text
    assert "`deedbox resume action crm`" in said.text
    alerts = compare(compare({}, [said], 0.0).standing, [said], HOLD_S + 1).notices
    assert len(alerts) == (kind is AttentionKind.PAUSED_LONG)


def test_a_lane_with_work_needs_a_worker() -> None:
    [said] = Status(_survey(LANE, workers=()), HEALTHY_VIEW).attentions
    assert said.kind is AttentionKind.NO_WORKER
    assert "deedbox worker --lane crm" in said.text


def test_an_empty_lane_needs_none() -> None:
    lane = replace(LANE, stage=Stage(0))
    assert Status(_survey(lane, workers=()), HEALTHY_VIEW).attentions == []


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
    [said] = Status(_survey(LANE), view).attentions
    assert command in said.text


def test_work_that_is_due_for_long_needs_a_sweeper() -> None:
    [said] = Status(_survey(replace(LANE, overdue_s=60.0)), HEALTHY_VIEW).attentions
    assert "deedbox sweeper" in said.text
    held = replace(_survey(LANE), overdue_holds_s=60.0)
    [said] = Status(held, HEALTHY_VIEW).attentions
    assert "deedbox sweeper" in said.text


def test_a_hold_that_was_woken_waits_for_the_sequencer_and_not_for_a_sweeper() -> None:
    worker = replace(WORKER, lane="sequencer")
    survey = _survey(Lane("sequencer", Stage(1, 60.0), waiting=0), workers=(worker,))
    survey.overdue_holds_s = 60.0
    assert Status(survey, HEALTHY_VIEW).attentions == []


def test_dead_letters_need_a_person() -> None:
    [said] = Status(_survey(LANE, dead=1), HEALTHY_VIEW).attentions
    assert said.text == "1 dead letter needs a decision: `deedbox dead list`."
    assert said.severity is Severity.NOTICE


def test_a_worker_lives_as_long_as_its_last_word_holds() -> None:
    idle, busy = dump(Presence("crm")), dump(Presence("crm", "act", "e" * 32, 4.0))
    doing = {b"a": idle, b"b": busy, b"dead": idle, b"odd": b"{}"}
    ends = [(b"a", NOW + 9.0), (b"b", NOW + 8.0), (b"dead", NOW), (b"odd", NOW + 9.0), (b"mute", NOW + 9.0)]
    assert living(ends, doing, NOW) == [
        Worker("a", "crm", "idle", 1.0),
        Worker("b", "crm", "busy", 2.0, "act", "e" * 32, 6.0),
    ]


def test_calls_that_take_their_process_along_are_told_with_action_event_and_process() -> None:
    survey = _survey(LANE)
    call = LostCall(NOW - 12.0, "crm", "myapp.crm", "e" * 32, "host-77-abc", 2)
    survey.lost = [call]
    assert Status(survey, HEALTHY_VIEW).attentions == [], "a single one is what any kill causes"
    survey.lost = [call, replace(call, at=NOW - 30.0, losses=1, process="host-70-abc")]
    [said] = Status(survey, HEALTHY_VIEW).attentions
    assert said.kind is AttentionKind.LOST_CALLS
    assert "action myapp.crm without an outcome, 2 times" in said.text
    assert f"host-77-abc of lane crm, 12 s ago, with the event {'e' * 32}" in said.text
    survey.now = NOW + 3600.0
    assert Status(survey, HEALTHY_VIEW).attentions == []


@pytest.mark.parametrize(("since_s", "count"), [(30.0, 0), (600.0, 1)])
def test_a_destination_that_takes_nothing_for_a_while_is_named(since_s: float, count: int) -> None:
    survey = _survey(LANE)
    survey.depths = {"deliver.crm": 14}
    heads = [("deliver.crm", 5.0), ("deliver.crm", since_s), ("fetch_documents", 9_000.0)]
    survey.waiting = [
        WaitingHead("crm", name, "sales:signature_request/r1", 20.0, failures=0, retries=9, since_s=waited)
        for name, waited in heads
    ]
    said = Status(survey, HEALTHY_VIEW).attentions
    expected = (AttentionKind.DESTINATION_AWAY, Severity.NOTICE, "crm")
    assert [(each.kind, each.severity, each.about) for each in said] == [expected] * count
    assert all("10 min. 14 messages wait" in each.text for each in said)
    assert all("`deedbox trace r1 --source sales`" in each.text for each in said)


def test_calls_that_have_met_failure_for_hours_become_an_alert_that_names_their_request() -> None:
    """Law: an API that is away for a night is reported before its calls become dead letters."""
    head = WaitingHead("documents", "fetch_documents", "sales:signature_request/r1", 9.0, 0, 40, 7 * 3600.0)
    survey = replace(_survey(LANE), waiting=[head, replace(head, action="track", since_s=60.0)])
    [said] = Status(survey, HEALTHY_VIEW).attentions
    assert (said.kind, said.severity, said.about) == (
        AttentionKind.RETRYING_LONG, Severity.NOTICE, "fetch_documents"
    )  # fmt: skip
    assert "`deedbox trace r1 --source sales`" in said.text
    [notice] = compare(compare({}, [said], 0.0).standing, [said], HOLD_S + 1).notices
    assert fault_alerts.body(notice.text, notice.advice, notice.lasted_s, resolved=False).endswith(
        "`deedbox runbook deedboxretryingold` says what to do. `deedbox status` shows what is wrong now."
    )
    pause = Pause(PauseTarget(PauseKind.ACTION, "fetch_documents"), 1, NOW - 60, "ann", "")
    assert [each.kind for each in Status(replace(survey, pauses=(pause,)), HEALTHY_VIEW).attentions] == [
        AttentionKind.PAUSED
    ]


def test_without_redis_a_full_disk_is_named_first_and_no_callback_is_said_to_be_accepted() -> None:
    """Law: an outage promises nothing that the disk of this host cannot hold."""
    [away] = redis_away("Redis does not answer.", {"/srv/var": 1 << 40})
    assert "Callbacks are still accepted" in away.text
    full, away = redis_away("Redis does not answer.", {"/srv/var": 0})
    assert (full.kind, full.about, away.kind) == (
        AttentionKind.DISK_FULL,
        "/srv/var",
        AttentionKind.REDIS_AWAY,
    )
    assert "still accepted" not in away.text
    assert "503" in away.text


def test_calls_that_wait_for_the_apis_budget_are_told_from_calls_that_fail() -> None:
    survey = _survey(LANE)
    survey.retrying = Stage(18, 30.0)
    budgets = (BudgetUse("default", "files", 15, 0),)
    [said] = Status(survey, HEALTHY_VIEW, budgets=budgets).attentions
    assert said.kind is AttentionKind.BUDGET
    assert "files of source default (15 a minute)" in said.text
    assert said.document() in Status(survey, HEALTHY_VIEW, budgets=budgets).document()["warnings"]


def test_a_used_up_budget_that_nobody_waits_for_is_no_news() -> None:
    budgets = (BudgetUse("default", "api", 60, 0),)
    assert Status(_survey(LANE), HEALTHY_VIEW, budgets=budgets).attentions == []


def test_calls_of_an_action_that_no_module_declares_are_named() -> None:
    survey = _survey(LANE)
    survey.unknown = [UnknownCalls("myapp.callbacks.inp", 5, 621.0)]
    [said] = Status(survey, HEALTHY_VIEW).attentions
    assert (said.kind, said.about) == (AttentionKind.UNKNOWN_ACTION, "myapp.callbacks.inp")
    assert "5 calls wait for the action myapp.callbacks.inp" in said.text


def test_an_unused_lane_is_named_and_nobody_is_told_to_start_a_worker_for_it() -> None:
    """Law: no advice names a command that refuses: `deedbox worker` refuses a lane that no action names."""
    empty = replace(LANE, stage=Stage(0), unused=True)
    [said] = Status(_survey(empty, workers=()), HEALTHY_VIEW).attentions
    assert (said.kind, said.severity, said.about) == (AttentionKind.UNUSED_LANE, Severity.NOTICE, "crm")


def test_a_crash_loop_names_the_process_how_it_ended_and_how_often() -> None:
    restart = Restart("web-1", "worker-default", "exited with status 3", 3, NOW - 5)
    [said] = Status(_survey(LANE), HEALTHY_VIEW, restarts=(restart,)).attentions
    assert (said.kind, said.about) == (AttentionKind.CRASH_LOOP, "web-1/worker-default")
    assert "worker-default on web-1 exited with status 3 and was restarted, 3 times in a minute" in said.text
    once = replace(restart, count=1)
    assert Status(_survey(LANE), HEALTHY_VIEW, restarts=(once,)).attentions == []


def test_a_disk_without_room_is_named_with_its_place() -> None:
    [said] = Status(
        _survey(LANE), HEALTHY_VIEW, free_bytes={"/srv/var": 12 << 20, "/srv/doc": 1 << 40}
    ).attentions
    assert (said.kind, said.about) == (AttentionKind.DISK_FULL, "/srv/var")
    assert said.text == "The disk of /srv/var has 12 MiB left: make room on that disk."


def test_work_that_its_living_workers_do_not_get_to_is_told() -> None:
    [said] = Status(
        _survey(replace(LANE, stage=Stage(3, 1000.0), open_age_s=1000.0)), HEALTHY_VIEW
    ).attentions
    assert (said.kind, said.about) == (AttentionKind.OLD_WORK, "crm")


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.5, None), (0.79, None), (0.81, "nearly full (829 of 1024 MiB)"), (1.0, "full (1024 of 1024 MiB)")],
)
def test_a_spool_near_its_limit_is_urgent_and_becomes_an_alert(share: float, told: str | None) -> None:
    mark = SpoolMark("web-3", 34, int(share * (1 << 30)), 1 << 30, NOW - 60, NOW)
    found = Status(replace(_survey(LANE), spools=SpoolMarks({"a1": mark}, {}, ())), HEALTHY_VIEW).attentions
    urgent = [each for each in found if each.kind is AttentionKind.SPOOL_FULL]
    assert [each.about for each in urgent] == ([] if told is None else ["web-3"])
    notices = compare(compare({}, urgent, 0.0).standing, urgent, HOLD_S).notices
    assert [each.text for each in notices] == [each.text for each in urgent]
    if told is not None:
        assert told in urgent[0].text
        assert "DEEDBOX_SPOOL_MAX_BYTES" in urgent[0].text


def test_a_host_that_is_silent_with_its_spool_is_named_with_what_it_holds_and_how_to_forget_it() -> None:
    marks = SpoolMarks({}, {"a1": SpoolMark("web-3", 34, 9000, 1 << 30, NOW - 11_000, NOW - 10_800)}, ("a2",))
    urgent, notice = Status(replace(_survey(LANE), spools=marks), HEALTHY_VIEW).attentions
    assert (urgent.kind, urgent.severity, urgent.about) == (
        AttentionKind.SPOOL_SILENT,
        Severity.URGENT,
        "web-3",
    )
    assert "34 callbacks in its spool and has been silent for 3 h" in urgent.text
    assert "deedbox spool forget web-3" in urgent.text
    assert (notice.kind, notice.about) == (AttentionKind.SPOOL_UNREADABLE, "a2")
