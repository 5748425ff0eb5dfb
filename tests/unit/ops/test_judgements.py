"""What `check` concludes from what it saw."""

from __future__ import annotations

import pytest

from deedbox.ops import checks
from deedbox.ops.checks.account import callback_url
from deedbox.ops.checks.finding import Finding, Verdict, failed, ok, unusable, warning
from deedbox.ops.checks.traffic import body_signatures


def _counters(valid: int, wrong: int, absent: int) -> dict[str, int]:
    return {
        "body_signature_valid": valid, "body_signature_wrong": wrong, "body_signature_absent": absent,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("counters", "verdict", "words"),
    [
        (_counters(500, 0, 0), Verdict.OK, "DEEDBOX_BODY_SIGNATURE=check is safe"),
        (_counters(500, 0, 9), Verdict.OK, "DEEDBOX_BODY_SIGNATURE=check is safe"),
        (_counters(5, 0, 0), Verdict.OK, "too few"),
        (_counters(500, 1, 0), Verdict.WARNING, "not safe"),
        (_counters(0, 0, 900), Verdict.OK, "not enough data yet"),
        ({}, Verdict.OK, "not enough data yet"),
    ],
)
def test_checking_body_signatures_is_safe_after_many_valid_and_no_wrong_ones(
    counters: dict[str, int], verdict: Verdict, words: str
) -> None:
    finding = body_signatures(counters, "record")
    assert finding.verdict is verdict
    assert words in finding.detail


@pytest.mark.parametrize(
    ("source", "url", "verdict"),
    [
        ("default", "https://sign.example.com/callbacks", Verdict.OK),
        ("default", "https://sign.example.com/callbacks/default", Verdict.OK),
        ("sales", "https://sign.example.com/callbacks/sales", Verdict.OK),
        ("sales", "https://sign.example.com/callbacks", Verdict.WARNING),
        ("default", "https://sign.example.com/elsewhere", Verdict.WARNING),
        ("default", None, Verdict.WARNING),
        ("default", "http://sign.example.com/callbacks", Verdict.FAILED),
    ],
)
def test_a_callback_url_must_lead_to_its_source(source: str, url: str | None, verdict: Verdict) -> None:
    assert callback_url(source, url).verdict is verdict


def test_a_callback_url_is_shown_without_what_may_be_secret() -> None:
    finding = callback_url("default", "https://user:s3cret@sign.example.com/callbacks?token=s3cret")
    assert "s3cret" not in finding.detail + finding.fix


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("a", "")], 0),
        ([ok("a", ""), warning("b", "")], 0),
        ([failed("a", ""), ok("b", "")], 1),
        ([failed("a", ""), unusable("b", "")], 2),
    ],
)
def test_the_exit_code_tells_failures_from_unusable_settings(findings: list[Finding], code: int) -> None:
    assert checks.exit_code(findings) == code
