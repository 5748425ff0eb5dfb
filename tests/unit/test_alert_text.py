"""How alerts read: what, how many, which, what to do; whatever a callback holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.ops.readmodels import timeline
from deedbox.shared.alerts import alert_text
from deedbox.shared.alerts.alerting import DEFAULT_EVENTS, Kind, Message
from deedbox.shared.core.callback import ParsedCallback
from deedbox.shared.core.identity import identify
from deedbox.workers.actions.interface import Event
from deedbox.workers.builtins.alert import fact_of

T = 1_800_000_000.0


def _event(event_type: str, payload: dict[str, Any], *, test_mode: bool = False) -> Event:
    return Event(
        type=event_type, time=int(T), received_at=T, source="default", ordering_key="signature_request/r1",
        signature_request_id="r1", related_signature_id="s1", test_mode=test_mode, late=False, body_signature="absent", trust="claimed",
        payload=payload,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [*Kind, *DEFAULT_EVENTS, "fax_failed"])
def test_every_kind_says_what_it_is_and_what_to_do(kind: str) -> None:
    message = Message(kind, "sales", T, T - 60, count=3, shown=("r1",), labels={"rejected": 3})
    title, body = alert_text.title(message), alert_text.body(message)
    assert title.startswith("Deedbox: ")
    assert title.endswith("(3)")
    assert "(source sales, since 2027-01-15 07:59 UTC)." in body
    assert len(body.splitlines()[-1]) > 20
    over = Message(kind, "sales", T, T - 60, recovered=True)
    assert "resolved" in alert_text.title(over)
    assert alert_text.severity(over) == "success"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            Message(Kind.DEAD_LETTERS, "default", T, T, count=34, shown=("8",), labels={"rejected": 34}),
            "34 new dead letters",
        ),
        (
            Message(Kind.URL_IN_DANGER, "default", T, T, labels={"5 or more in a row": 1}),
            "5 or more callbacks in a row",
        ),
        (Message("file_error", "default", T, T), "1 file_error event"),
    ],
)
def test_the_first_line_is_a_sentence_with_its_number(message: Message, line: str) -> None:
    body = alert_text.body(message)
    assert body.startswith(line)
    assert "5 or more in a row: 1" not in body


def test_more_than_a_few_ids_are_a_number() -> None:
    message = Message("file_error", "default", T, T, count=42, shown=("a", "b", "c", "d", "e"))
    assert "a, b, c, d, e and 37 more" in alert_text.body(message)
    assert "\nids: 7, 8\n" in alert_text.body(
        Message(Kind.DEAD_LETTERS, "default", T, T, count=2, shown=("7", "8"))
    )


def test_a_gap_is_counted_by_what_was_missing() -> None:
    fact = fact_of(_event("deedbox.reconciled", {"gaps": ["behind", "no_document"]}), "k", details=False)
    assert (fact.shown, fact.label) == ("r1", "behind, no_document")


def test_a_request_in_test_mode_is_marked() -> None:
    assert fact_of(_event("file_error", {}, test_mode=True), "k", details=False).label == "test mode"


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_title_is_shown_only_if_allowed_and_never_as_markup(title: str, name: str) -> None:
    payload = {"signature_request": {"title": title, "signatures": [{"signer_name": name}]}}
    assert fact_of(_event("file_error", payload), "k", details=False).shown == "r1"
    shown = fact_of(_event("file_error", payload), "k", details=True).shown
    assert shown.isprintable()
    assert not set("<>@`*_[]&") & set(shown)
    assert len(shown) <= 90


IDS = st.text(st.characters(exclude_categories=()), min_size=1, max_size=300) | st.sampled_from(
    ["r_1", "a" * 500]
)
BODIES = st.one_of(
    st.builds(lambda found: {"signature_request": {"signature_request_id": found}}, IDS),
    st.builds(lambda found: {"template": {"template_id": found}}, IDS),
    st.builds(lambda found: {"account": {"account_id": found}}, IDS),
    st.just({"signature_request": None}),
)


@given(BODIES, st.sampled_from(["file_error", "signature_request_invalid", "template_error"]))
def test_an_alert_names_an_id_that_trace_takes_as_it_stands(body: dict[str, Any], event_type: str) -> None:
    """A ``file_error`` without a subject, too: its events lie under their type."""
    callback = ParsedCallback(event_type, int(T), str(int(T)), "0" * 64, None, body)
    key = str(identify("default", callback).key)
    shown = fact_of(replace(_event(event_type, body), ordering_key=key), "k", details=False).shown
    assert timeline.key_of(shown) == key
    assert shown.isascii()
    assert not set(shown) & set("<>@`*[]& ")
    assert len(shown) < 250
