"""``deedbox.verify``: the receiver's ladder for handlers of one's own; it raises two kinds of errors, whatever comes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox import NotVerified, Verified, verify
from deedbox.shared.core.reasons import Refusal
from deedbox.testing import callback

LAW = settings(derandomize=True, max_examples=200, deadline=None)
MADE = callback("signature_request_signed", request_id="r1", api_key="key", time=1_767_225_600)
FIELDS = {"Content-Type": MADE.headers["Content-Type"], "Content-Sha256": MADE.headers["Content-Sha256"]}


@pytest.mark.parametrize(
    "headers",
    [
        FIELDS,
        {name.lower(): value for name, value in FIELDS.items()},
        {name.upper(): value.encode() for name, value in FIELDS.items()},
        [(name.lower().encode(), value.encode()) for name, value in FIELDS.items()],
    ],
)
@pytest.mark.parametrize("keys", ["key", b"key", ["other", "key"], (b"key",)])
def test_a_genuine_callback_is_verified_whatever_the_form_of_headers_and_keys(
    headers: Any, keys: Any
) -> None:
    found = verify(MADE.body, headers, keys)
    assert (found.event_type, found.event_time, found.trust) == (
        "signature_request_signed",
        1_767_225_600,
        "attested",
    )
    assert found.payload["signature_request"]["signature_request_id"] == "r1"
    assert "event_hash" not in found.payload["event"]


def test_json_and_urlencoded_bodies_are_taken_too() -> None:
    text = MADE.json_text
    form = f"json={quote(text)}".encode()
    assert verify(text, {"Content-Type": "application/json"}, "key").trust == "claimed"
    assert verify(text, {}, "key").event_type == MADE.event_type
    assert (
        verify(form, {"Content-Type": "application/x-www-form-urlencoded"}, "key").event_type
        == MADE.event_type
    )


def test_a_wrong_body_signature_is_told_by_the_trust() -> None:
    wrong = base64.b64encode(b"0" * 64).decode()
    assert verify(MADE.body, FIELDS | {"Content-Sha256": wrong}, "key").trust == "disputed"


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (MADE.body, FIELDS, Refusal.BAD_EVENT_HASH),
        (b"", {}, Refusal.MISSING_JSON_FIELD),
        (b"{}", {}, Refusal.BAD_FIELD),
        (b"{", {}, Refusal.BAD_JSON),
        (b"--x", {"Content-Type": "multipart/form-data; boundary=x"}, Refusal.BAD_MULTIPART),
    ],
)
def test_what_is_not_verified_has_the_reason_of_the_receiver(body: bytes, headers: Any, reason: str) -> None:
    with pytest.raises(NotVerified) as refused:
        verify(body, headers, "another key")
    assert refused.value.reason == reason
    assert str(refused.value) == refused.value.detail


@pytest.mark.parametrize("keys", [None, "", " ", b"", [], [""], [None], ["key", ""], 5, "\ud800", b"\xff"])
def test_keys_that_are_none_are_a_mistake_and_verify_nothing(keys: Any) -> None:
    with pytest.raises(TypeError):
        verify(MADE.body, FIELDS, keys)


@pytest.mark.parametrize(
    ("body", "headers"), [("text", {}), (None, {}), (b"", None), (b"", 5), (b"", ["a"]), (b"", {1: 2})]
)
def test_arguments_of_another_type_are_a_mistake(body: Any, headers: Any) -> None:
    with pytest.raises(TypeError):
        verify(body, headers, "key")


TEXT = st.text(st.characters(exclude_categories=()), max_size=30)


@LAW
@given(
    st.binary(max_size=200) | st.sampled_from([MADE.body, MADE.json_text, MADE.body[:-9]]),
    st.dictionaries(st.sampled_from(["Content-Type", "content-sha256", "x"]), TEXT | st.binary(max_size=9)
                    | st.sampled_from([*FIELDS.values(), "application/json", "multipart/form-data; boundary="])),
    TEXT | st.binary(max_size=5) | st.lists(TEXT | st.none(), max_size=2) | st.just("key"),
)  # fmt: skip
def test_nothing_but_the_two_errors_is_raised(body: bytes, headers: Any, keys: Any) -> None:
    try:
        found = verify(body, headers, keys)
    except (NotVerified, TypeError):
        return
    assert isinstance(found, Verified)


@LAW
@given(st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=4))
def test_no_json_makes_it_raise_another_error(event: dict[str, Any]) -> None:
    body = json.dumps(
        {"event": {"event_type": "x", "event_time": "1", "event_hash": "0" * 64} | event}
    ).encode()
    with pytest.raises(NotVerified):
        verify(body, {}, "key")


def test_verifying_loads_none_of_the_heavy_parts() -> None:
    program = (
        "import sys, deedbox; deedbox.verify, deedbox.NotVerified, deedbox.Verified;"
        "print([name for name in ('flask', 'kombu', 'redis', 'rq', 'gunicorn', 'structlog') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
