"""The verdict: clean only if every promise was kept, and each broken promise is named."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deedbox.ops.demo import view
from deedbox.ops.demo.evidence import RecordedCall
from deedbox.ops.demo.report import DemoFindings, Sent, judge, out_of_order
from tests.unit.ops_running.conftest import CLEAN, KEY, SHA, MakeCall


def _violations(calls: list[RecordedCall]) -> int:
    return len(out_of_order(calls))


def _traces(found: DemoFindings, **changes: Any) -> DemoFindings:
    return replace(found, traces=replace(found.traces, **changes))


def test_a_run_in_which_everything_went_well_is_clean(sent: Sent, found: DemoFindings) -> None:
    report = judge(sent, found)
    assert report.problems == ()
    assert report.as_json()["documents"] == [{"signature_request_id": "r1", "sha256": SHA}]


def test_an_acknowledged_fact_that_no_action_saw_is_lost(sent: Sent, found: DemoFindings) -> None:
    report = judge(sent, replace(found, calls=[found.calls[0], *found.calls[2:]]))
    assert report.lost == 1
    assert not report.clean


def test_a_dead_letter_accounts_for_a_fact_but_is_a_problem_itself(sent: Sent, found: DemoFindings) -> None:
    fingerprint = sent.acked[found.calls[1].fact]
    letter = {"id": "1", "reason": "rejected", "action": "record", "event": fingerprint}
    spoiled = _traces(replace(found, calls=[found.calls[0], *found.calls[2:]]), dead=(letter,))
    report = judge(sent, spoiled)
    assert (report.lost, report.clean) == (0, False)


def test_a_dead_letter_of_another_action_excuses_nothing(sent: Sent, found: DemoFindings) -> None:
    fingerprint = sent.acked[found.calls[1].fact]
    letter = {"id": "1", "reason": "rejected", "action": "fetch_documents", "event": fingerprint}
    spoiled = _traces(replace(found, calls=[found.calls[0], *found.calls[2:]]), dead=(letter,))
    assert judge(sent, spoiled).lost == 1


def test_one_fact_under_two_idempotency_keys_was_dispatched_twice(
    sent: Sent, found: DemoFindings, call: MakeCall
) -> None:
    again = call(20, "all_signed", number=2)
    report = judge(sent, replace(found, calls=[*found.calls, again]))
    assert (report.twice, report.repeated, report.clean) == (1, 0, False)


def test_a_call_that_a_crash_repeated_is_no_problem(sent: Sent, found: DemoFindings) -> None:
    report = judge(sent, replace(found, calls=[*found.calls[:3], found.calls[2], found.calls[3]]))
    assert (report.repeated, report.problems) == (1, ())


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ({"refused": 0, "forgeries_acked": 1}, "forged callbacks were acknowledged"),
        ({"refused": 0}, "0 of 1 forged callbacks were refused"),
        ({"failed": 1}, "1 of 5 deliveries were not settled"),
        ({"unfinished": 2}, "2 of 5 deliveries were not settled"),
    ],
)
def test_a_delivery_that_went_wrong_is_named(
    sent: Sent, found: DemoFindings, spoil: dict[str, int], named: str
) -> None:
    report = judge(replace(sent, counts=replace(CLEAN, **spoil)), found)
    assert any(named in problem for problem in report.problems)


@pytest.mark.parametrize("digests", [["00" * 32], [SHA, "00" * 32]])
def test_anything_but_the_final_document_in_the_store_is_a_problem(
    sent: Sent, found: DemoFindings, digests: list[str]
) -> None:
    assert not judge(sent, replace(found, documents={"r1": digests})).clean


def test_a_document_of_a_request_that_was_never_completed_is_a_problem(
    sent: Sent, found: DemoFindings
) -> None:
    assert not judge(sent, replace(found, documents={"r1": [SHA], "r2": [SHA]})).clean


def test_a_missing_document_is_a_problem(sent: Sent, found: DemoFindings) -> None:
    report = judge(sent, replace(found, documents={}))
    assert "1 of 1 documents are missing, r1 for one" in report.problems


def test_a_document_that_no_action_was_told_about_is_a_problem(sent: Sent, found: DemoFindings) -> None:
    assert not judge(sent, replace(found, calls=found.calls[:3])).clean


def test_a_call_about_a_fact_that_nobody_sent_is_a_problem(
    sent: Sent, found: DemoFindings, call: MakeCall
) -> None:
    assert not judge(sent, replace(found, calls=[*found.calls, call(30, "canceled")])).clean


def test_a_body_that_the_sender_did_not_sign_is_a_problem(sent: Sent, found: DemoFindings) -> None:
    forged = replace(found.calls[2], body_signature="wrong")
    assert not judge(sent, replace(found, calls=[*found.calls[:2], forged, found.calls[3]])).clean


def test_fewer_duplicates_than_were_acknowledged_are_a_problem(sent: Sent, found: DemoFindings) -> None:
    assert not judge(replace(sent, redundant_acks=2), found).clean


@pytest.mark.parametrize("counter", ["arrived", "released", "duplicate", "held", "late"])
def test_a_counter_that_the_timelines_contradict_is_a_problem(
    sent: Sent, found: DemoFindings, counter: str
) -> None:
    counters = {**found.traces.counters, counter: 17}
    assert not judge(sent, _traces(found, counters=counters)).clean


def test_a_fact_that_is_not_stored_and_work_that_is_not_done_are_problems(
    sent: Sent, found: DemoFindings
) -> None:
    assert not judge(sent, _traces(found, forgotten=1)).clean
    assert not judge(sent, replace(found, unfinished="2 in held")).clean


def test_order_is_per_key(call: MakeCall) -> None:
    elsewhere = call(5, key=KEY + "x")
    assert _violations([call(10), elsewhere, call(11)]) == 0


def test_a_call_below_the_greatest_position_needs_the_late_flag(call: MakeCall) -> None:
    assert _violations([call(10), call(9)]) == 1
    assert _violations([call(10), call(9, late=True)]) == 0


def test_the_late_flag_without_reason_is_a_violation(call: MakeCall) -> None:
    assert _violations([call(10), call(11, late=True)]) == 1
    assert _violations([call(10, late=True)]) == 1


def test_a_late_call_does_not_move_the_greatest_position(call: MakeCall) -> None:
    assert _violations([call(10), call(8, late=True), call(9)]) == 1


def test_events_of_one_second_are_ordered_by_what_causes_what(call: MakeCall) -> None:
    assert _violations([call(10, "sent"), call(10, "signed"), call(10, "all_signed")]) == 0
    assert _violations([call(10, "all_signed"), call(10, "signed")]) == 1


def test_the_page_names_every_problem(sent: Sent, found: DemoFindings) -> None:
    text = StringIO()
    report = judge(sent, replace(found, calls=found.calls[:2], restarts={"web": 2}))
    view.show(Console(file=text, width=120), report, Path("var/demo"))
    assert all(problem in text.getvalue().replace("\n", " ") for problem in report.problems)
    assert "web (2)" in text.getvalue()
    assert "Nothing lost" not in text.getvalue()


@pytest.mark.parametrize("keep", [True, False])
def test_the_hint_names_a_command_that_the_shell_finds(
    sent: Sent, found: DemoFindings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, keep: bool
) -> None:
    own = tmp_path / "deedbox"
    own.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(own)])
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    text = StringIO()
    places = view.Places(Path("var/demo"), "http://127.0.0.1:1/callbacks", "http://127.0.0.1:2/")
    view.hint(Console(file=text, width=200), judge(sent, found), places, keep=keep)
    assert f"{own} " in text.getvalue()
    assert ("http://127.0.0.1:2/" in text.getvalue()) is keep
