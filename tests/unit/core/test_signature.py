"""Who signed: against the vendor's published vectors and its own library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest
from dropbox_sign import EventCallbackHelper, EventCallbackRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.signature import (
    BodySignature,
    content_sha256,
    event_hash,
    verify_body,
    verify_event_hash,
)
from tests.unit.core.wire import KEY, OLD_KEY

LAW = settings(derandomize=True, max_examples=60, deadline=None)

PUBLISHED = [
    (
        KEY,
        "1669926463",
        "account_confirmed",
        "ff8b03439122f9160500c3fb855bdee5a9ccba5fff27d3b258745d8f3074832f",
    ),
    (
        OLD_KEY,
        "1348177752",
        "signature_request_sent",
        "7d0dace3a863bce194333c2a4e90c65f89af08e7c2068230c1c17b9c2b292dc6",
    ),
    (KEY, "1348177752", "unknown_error", "c574f5d3090c2936360b4e36cf6835cf3e2206b84fdc6347e6b28ca721ae1371"),
    (
        KEY,
        "1348177752",
        "template_created",
        "4a9b22fa68d5addb8b6313eea9d42ecb393903a4240b71503ef78e9dac6c100d",
    ),
]
TYPES = st.sampled_from(
    [
        "signature_request_viewed",
        "signature_request_all_signed",
        "callback_test",
        "file_error",
        "fax_received",
    ]
)
TIMES = st.integers(0, 2**53).map(str)


@pytest.mark.parametrize(("key", "time", "event_type", "digest"), PUBLISHED)
def test_a_published_hash_is_computed_and_verified(key: str, time: str, event_type: str, digest: str) -> None:
    assert event_hash(key, time, event_type) == digest
    assert verify_event_hash([key], time, event_type, digest)


@LAW
@given(st.text("0123456789abcdef", min_size=1, max_size=64), TIMES, TYPES, st.booleans())
def test_the_verdict_is_the_one_of_the_vendors_library(
    key: str,
    time: str,
    event_type: str,
    genuine: bool,  # noqa: FBT001
) -> None:
    digest = event_hash(key if genuine else KEY + "x", time, event_type)
    event = {"event_type": event_type, "event_time": time, "event_hash": digest}
    theirs = EventCallbackHelper.is_valid(key, EventCallbackRequest.init({"event": event}))
    assert verify_event_hash([key], time, event_type, digest) is theirs is genuine


def test_any_key_of_the_ring_may_have_signed() -> None:
    digest = event_hash(OLD_KEY, "1", "t")
    assert verify_event_hash([KEY, OLD_KEY], "1", "t", digest)
    assert verify_event_hash([OLD_KEY, KEY], "1", "t", digest)
    assert not verify_event_hash([KEY], "1", "t", digest)


def test_an_empty_ring_verifies_nothing() -> None:
    assert not verify_event_hash([], "1", "t", event_hash("", "1", "t"))
    assert verify_body([], b"{}", content_sha256("", b"{}")) is BodySignature.WRONG


@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda _: "",
        lambda text: " " + text[1:],
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\ud800",
        lambda _: "0" * 64,
        lambda text: "0x" + text[2:],
    ],
)
def test_only_the_exact_digits_verify(spoil: Callable[[str], str]) -> None:
    assert not verify_event_hash([KEY], "1669926463", "account_confirmed", spoil(PUBLISHED[0][3]))


def test_time_and_type_are_signed_as_received() -> None:
    digest = event_hash(KEY, "01", "t")
    assert verify_event_hash([KEY], "01", "t", digest)
    assert not verify_event_hash([KEY], "1", "t", digest)


@LAW
@given(st.binary(max_size=50), st.sampled_from([[KEY], [OLD_KEY, KEY], [KEY, OLD_KEY]]))
def test_both_forms_of_the_body_signature_verify(body: bytes, ring: list[str]) -> None:
    mac = hmac.new(KEY.encode(), body, hashlib.sha256)
    of_hex = base64.b64encode(mac.hexdigest().encode()).decode()
    of_raw = base64.b64encode(mac.digest()).decode()
    assert (len(of_hex), len(of_raw)) == (88, 44)
    assert content_sha256(KEY, body) == of_hex
    for header in (of_hex, of_raw, f" {of_hex} "):
        assert verify_body(ring, body, header) is BodySignature.VALID


def test_a_body_signature_covers_every_byte() -> None:
    """An escaped slash is another body, although it is the same JSON."""
    header = content_sha256(KEY, b'{"a":"\\/"}')
    assert json.loads(b'{"a":"\\/"}') == json.loads(b'{"a":"/"}')
    assert verify_body([KEY], b'{"a":"/"}', header) is BodySignature.WRONG


def test_a_body_signature_of_another_key_is_wrong() -> None:
    assert verify_body([KEY], b"{}", content_sha256(OLD_KEY, b"{}")) is BodySignature.WRONG


@pytest.mark.parametrize("header", [None, "", "  "])
def test_no_header_is_absent_not_wrong(header: str | None) -> None:
    assert verify_body([KEY], b"{}", header) is BodySignature.ABSENT


@LAW
@given(st.text(st.characters(), min_size=1, max_size=90).filter(str.strip))
def test_any_other_header_is_wrong(header: str) -> None:
    assert verify_body([KEY], b"{}", header) is BodySignature.WRONG


@LAW
@given(st.text(st.characters(), max_size=70))
def test_any_other_hash_is_refused(received: str) -> None:
    assert not verify_event_hash([KEY], "1", "t", received)
