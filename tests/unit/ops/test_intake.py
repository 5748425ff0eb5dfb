"""What the web processes report, read from reports made by hand, and what of it needs a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deedbox.ops.readmodels import intake
from deedbox.ops.readmodels.attention import AttentionKind, Severity
from deedbox.ops.readmodels.broker import BrokerView
from deedbox.ops.readmodels.intake import SourceView, sources_of
from deedbox.ops.readmodels.stages import Stage, Survey
from deedbox.ops.readmodels.status import Status
from deedbox.shared.records.spool_mark import SpoolMark, SpoolMarks

NOW = 1_800_000_000.0
EMPTY = Survey(NOW, Stage(0), Stage(0), Stage(0), {})
ALIVE = BrokerView(Stage(0), Stage(0), bridges=1)


def report(process: str = "web:1", at: float = NOW, **source: Any) -> dict[bytes, bytes]:
    times: dict[str, Any] = {"last_accepted_at": None, "last_test_at": None, "failures": []}
    row = {"accepted": 0, "spooled": 0, "refused": {}, **times, **source}
    document = {"at": at, "started_at": at - 100, "ack_ms": {"bounds": [1, 10], "counts": [5, 3, 1]},
                "sources": {"default": row}, "strays": {}}  # fmt: skip
    return {process.encode(): json.dumps(document).encode()}


def view(failures: int = 0, *reports: dict[bytes, bytes]) -> SourceView:
    rows: dict[bytes, bytes] = {}
    for each in reports:
        rows |= each
    times = ",".join(str(NOW - each) for each in range(failures, 0, -1))
    kept = sources_of({b"default|failures": times.encode()} if failures else {}, ["default"])
    [found] = intake.by_source(kept, intake.fresh(intake.parse(rows), NOW))
    return found


def test_a_source_that_nobody_has_reported_is_shown_with_all_its_failures_left() -> None:
    assert (view().failures_in_a_row, view().kept.failures_left, view().reasons) == (0, 10, ())


def test_reasons_of_all_living_processes_are_ranked() -> None:
    found = view(
        0,
        report("a:1", refused={"bad_json": 2}),
        report("b:1", refused={"bad_event_hash": 3, "bad_json": 2}),
        report("gone:1", at=NOW - 61, refused={"bad_field": 50}),
    )
    assert found.reasons == ("bad_json", "bad_event_hash")


def test_without_a_living_process_the_reasons_of_all_time_count() -> None:
    kept = sources_of({b"default|refused|bad_json": b"2", b"default|refused|bad_field": b"3"})
    assert intake.by_source(kept, [])[0].reasons == ("bad_field", "bad_json")


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"at": 1}', b'{"ack_ms": {"bounds": [], "counts": []}}']
)
def test_a_report_that_cannot_be_read_counts_for_nothing(document: bytes) -> None:
    assert intake.parse({b"a:1": document}) == []


def test_a_report_whose_buckets_do_not_fit_its_bounds_counts_for_nothing() -> None:
    [text] = report().values()
    assert intake.parse({b"a:1": text.replace(b"[5, 3, 1]", b"[5, 3]")}) == []


@pytest.mark.parametrize(
    ("count", "severity", "words"),
    [
        (2, Severity.NOTICE, "After 8 more"),
        (5, Severity.URGENT, "After 5 more"),
        (10, Severity.URGENT, "may have removed"),
    ],
)
def test_failures_in_a_row_need_a_person(count: int, severity: Severity, words: str) -> None:
    [found] = Status(
        EMPTY, ALIVE, sources=(view(count, report(refused={"bad_event_hash": count})),)
    ).attentions
    assert (found.severity, found.link) == (severity, "/runbook#bad_event_hash")
    assert words in found.text


def test_one_failure_is_nothing_to_wake_anybody_for() -> None:
    assert Status(EMPTY, ALIVE, sources=(view(1),)).attentions == []


def test_what_holds_callbacks_up_comes_before_what_waits_for_a_person() -> None:
    marks = SpoolMarks({"h": SpoolMark("web-1", 3, 900, 1 << 30, NOW - 5, NOW)}, {}, ())
    survey = Survey(NOW, Stage(0), Stage(0), Stage(2), {}, spools=marks)
    broken = BrokerView(Stage(None), Stage(None), bridges=1, trouble="OperationalError")
    found = Status(survey, broken).attentions
    assert [each.severity for each in found] == [Severity.URGENT, Severity.NOTICE, Severity.NOTICE]
    assert found[0].kind is AttentionKind.BROKER_AWAY
    assert [each.link for each in found[1:]] == ["/dead", "/runbook#spool"]
