"""What `check` concludes from what it saw."""

from __future__ import annotations

import pytest

from deedbox.ops import checks
from deedbox.ops.checks.account import callback_url
from deedbox.ops.checks.finding import Finding, Verdict, failed, ok, unusable, warning
from deedbox.ops.checks.traffic import body_signatures
from deedbox.shared.core.signature import ENOUGH_VALID, RECENT_S, SignatureEvidence

NOW = 1_800_000_000.0
PROVED = SignatureEvidence(ENOUGH_VALID, NOW - 5)
CONTRADICTED = SignatureEvidence(3, NOW - 5, NOW - 60)


@pytest.mark.parametrize(
    ("seen", "mode", "verdict", "words"),
    [
        (PROVED, "auto", Verdict.OK, "is set aside"),
        (PROVED, "record", Verdict.OK, "DEEDBOX_BODY_SIGNATURE=auto is safe"),
        (SignatureEvidence(ENOUGH_VALID, NOW - 5, NOW - 60), "auto", Verdict.OK, "is set aside"),
        (SignatureEvidence(ENOUGH_VALID - 1, NOW - 5), "auto", Verdict.OK, "nothing is set aside"),
        (SignatureEvidence(), "record", Verdict.OK, "0 of 20"),
        (SignatureEvidence(900, NOW - RECENT_S), "auto", Verdict.OK, "nothing is set aside"),
        (CONTRADICTED, "auto", Verdict.WARNING, "the API confirmed"),
        (SignatureEvidence(3, NOW - 5, NOW - RECENT_S), "auto", Verdict.OK, "3 of 20"),
        (CONTRADICTED, "require", Verdict.OK, "require is on"),
    ],
)
def test_what_the_api_confirmed_decides_whether_body_signatures_are_relied_on(
    seen: SignatureEvidence, mode: str, verdict: Verdict, words: str
) -> None:
    finding = body_signatures("default", seen, mode, NOW)
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
