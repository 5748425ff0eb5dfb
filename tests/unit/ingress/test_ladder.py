"""Each rung of the ladder is one law."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from deedbox.ingress.receive.ladder import STATUS, Accepted, LadderPolicy, Received, RefusedCallback, judge
from deedbox.shared import codec
from deedbox.shared.core.reasons import Refusal
from deedbox.shared.core.signature import BodySignature, content_sha256
from tests.unit.ingress.wire import BOUNDARY, KEY, MULTIPART, OTHER_KEY, callback, multipart

NOW = 1_800_000_000
POLICY = LadderPolicy(key_rings={"default": (KEY,)}, body_max_bytes=4096)


def policy(**more: Any) -> LadderPolicy:
    return LadderPolicy(**{"key_rings": {"default": (KEY,)}, "body_max_bytes": 4096, **more})


def received(body: bytes | None, content_type: str | None = MULTIPART, **more: Any) -> Received:
    facts: dict[str, Any] = {
        "source": "default",
        "method": "POST",
        "content_sha256": None,
        "received_at": NOW,
        **more,
    }
    return Received(body=body, content_type=content_type, **facts)


def refused(request: Received, rules: LadderPolicy = POLICY) -> RefusedCallback:
    verdict = judge(request, rules)
    assert isinstance(verdict, RefusedCallback)
    return verdict


def accepted(request: Received, rules: LadderPolicy = POLICY) -> Accepted:
    verdict = judge(request, rules)
    assert isinstance(verdict, Accepted), verdict
    return verdict


def test_a_signed_callback_is_accepted_with_its_exact_bytes() -> None:
    text = b'{ "event" : %s,"a":"\\/ \xc3\xa9"}' % json.dumps(json.loads(callback())["event"]).encode()
    verdict = accepted(received(multipart(text)))
    assert verdict.json_text == text
    assert (verdict.source, verdict.event_type) == ("default", "signature_request_viewed")


def test_the_envelope_of_an_accepted_callback_has_time_and_trace_added() -> None:
    envelope = accepted(received(multipart(callback()))).envelope(12.5, "c" * 32)
    assert (envelope.received_at, envelope.trace_id) == (12.5, "c" * 32)
    assert codec.body_of(envelope) == callback()


def test_an_unknown_source_is_refused_before_anything_is_looked_at() -> None:
    verdict = refused(received(b"\xff", source="nobody"))
    assert (verdict.reason, verdict.status) == (Refusal.UNKNOWN_SOURCE, 404)


def test_a_source_without_keys_is_as_good_as_unknown() -> None:
    rules = policy(key_rings={"default": ()})
    assert refused(received(multipart(callback())), rules).reason is Refusal.UNKNOWN_SOURCE


def test_only_post_is_taken() -> None:
    assert refused(received(b"", method="GET")).status == 405


@pytest.mark.parametrize("body", [None, b"x" * 4097])
def test_a_body_over_the_limit_is_refused(body: bytes | None) -> None:
    verdict = refused(received(body))
    assert (verdict.reason, verdict.status) == (Refusal.BODY_TOO_LARGE, 413)
    assert "4096" in verdict.detail


def test_a_body_at_the_limit_is_read() -> None:
    text = callback()
    padded = text + b" " * (4096 - len(multipart(text)))
    assert accepted(received(multipart(padded))).json_text == padded


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/xml", "multipart/mixed; boundary=x"]
)
def test_another_content_type_is_refused_with_what_to_send(content_type: str | None) -> None:
    verdict = refused(received(callback(), content_type))
    assert (verdict.reason, verdict.status) == (Refusal.MISSING_JSON_FIELD, 400)
    assert "multipart/form-data" in verdict.detail
    assert "json" in verdict.detail


@pytest.mark.parametrize("headers", ['; filename="callback.json"', "\r\nContent-Type: application/json"])
def test_a_part_with_a_filename_or_a_type_is_a_field_like_any_other(headers: str) -> None:
    assert accepted(received(multipart(callback(), part_headers=headers))).json_text == callback()


def test_an_urlencoded_form_is_taken_byte_for_byte() -> None:
    text = callback(note="a+b & ü/=")
    body = b"x=1&json=" + quote_plus(text).encode()
    assert accepted(received(body, "application/x-www-form-urlencoded; charset=utf-8")).json_text == text


def test_a_json_body_is_taken_as_the_text_itself() -> None:
    assert accepted(received(callback(), "application/json; charset=utf-8")).json_text == callback()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MULTIPART, multipart(callback(), name="payload")),
        ("application/x-www-form-urlencoded", b"payload=1"),
        ("application/x-www-form-urlencoded", b""),
    ],
)
def test_a_form_without_the_field_names_the_field(content_type: str, body: bytes) -> None:
    verdict = refused(received(body, content_type))
    assert verdict.reason is Refusal.MISSING_JSON_FIELD
    assert "json" in verdict.detail


def test_the_field_may_come_once_only() -> None:
    part = multipart(callback())[: -len(f"--{BOUNDARY}--\r\n")]
    verdict = refused(received(part + multipart(callback())))
    assert (verdict.reason, verdict.status) == (Refusal.BAD_FIELD, 400)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", multipart(callback())),
        (f"multipart/form-data; boundary={'b' * 201}", multipart(callback())),
        (MULTIPART, b""),
        (MULTIPART, b"no form at all"),
        (MULTIPART, multipart(callback())[:-8]),
        (MULTIPART, multipart(b"1", name="x").replace(b"--\r\n", b"\r\n") * 20),
        (MULTIPART, multipart(callback(), part_headers="\r\nX: " + "y" * 3000)),
        (MULTIPART, multipart(callback(), part_headers="\r\nX: y" * 9)),
        ("application/x-www-form-urlencoded", b"a=1&" * 20),
    ],
)
def test_a_broken_or_boundless_form_is_refused(content_type: str, body: bytes) -> None:
    verdict = refused(received(body, content_type))
    assert (verdict.reason, verdict.status) == (Refusal.BAD_MULTIPART, 400)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"event"', b"\xff\xfe", b'{"event": NaN}', b"[" * 3000])
def test_text_that_is_no_json_object_is_refused(text: bytes) -> None:
    verdict = refused(received(multipart(text)))
    assert (verdict.reason, verdict.status) == (Refusal.BAD_JSON, 400)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (None, "event"),
        ([], "event"),
        ({}, "event.event_type"),
        ({"event_type": 5}, "event.event_type"),
        ({"event_type": "a b"}, "event.event_type"),
        ({"event_type": "x"}, "event.event_time"),
        ({"event_type": "x", "event_time": "soon"}, "event.event_time"),
        ({"event_type": "x", "event_time": True}, "event.event_time"),
        ({"event_type": "x", "event_time": "1"}, "event.event_hash"),
        ({"event_type": "x", "event_time": "1", "event_hash": ""}, "event.event_hash"),
    ],
)
def test_a_bad_field_is_named(event: object, field: str) -> None:
    verdict = refused(received(multipart(json.dumps({"event": event}).encode())))
    assert (verdict.reason, verdict.status) == (Refusal.BAD_FIELD, 400)
    assert field in verdict.detail


def test_a_callback_that_no_key_signed_is_refused() -> None:
    verdict = refused(received(multipart(callback(key="stolen"))))
    assert (verdict.reason, verdict.status) == (Refusal.BAD_EVENT_HASH, 401)
    assert verdict.event_type == "signature_request_viewed"


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_any_key_of_the_ring_may_have_signed(key: str) -> None:
    rules = policy(key_rings={"default": (KEY, OTHER_KEY)})
    assert accepted(received(multipart(callback(key=key))), rules).json_text == callback(key=key)


def test_each_source_has_its_own_keys() -> None:
    rules = policy(key_rings={"default": (KEY,), "tenant": (OTHER_KEY,)})
    body = multipart(callback(key=OTHER_KEY))
    assert accepted(received(body, source="tenant"), rules).source == "tenant"
    assert refused(received(body), rules).reason is Refusal.BAD_EVENT_HASH


def test_an_unknown_type_with_unknown_fields_is_accepted() -> None:
    text = callback("signature_request_levitated", client_id=None, extra={"deep": [1]})
    assert accepted(received(multipart(text))).event_type == "signature_request_levitated"


def test_an_integer_time_is_hashed_by_its_own_text() -> None:
    text = callback(event_time=1348177752)
    assert accepted(received(multipart(text))).json_text == text


GENUINE = content_sha256(KEY, callback())
FORGED = content_sha256(OTHER_KEY, callback())


@pytest.mark.parametrize(
    ("mode", "header", "outcome"),
    [
        ("record", GENUINE, BodySignature.VALID),
        ("record", FORGED, BodySignature.WRONG),
        ("record", None, BodySignature.ABSENT),
        ("check", GENUINE, BodySignature.VALID),
        ("auto", FORGED, BodySignature.WRONG),
        ("auto", None, BodySignature.ABSENT),
        ("check", FORGED, Refusal.BAD_BODY_SIGNATURE),
        ("check", None, BodySignature.ABSENT),
        ("require", GENUINE, BodySignature.VALID),
        ("require", FORGED, Refusal.BAD_BODY_SIGNATURE),
        ("require", None, Refusal.BAD_BODY_SIGNATURE),
        ("require", "", Refusal.BAD_BODY_SIGNATURE),
    ],
)
def test_the_body_signature_policy_decides_who_passes(
    mode: str, header: str | None, outcome: BodySignature | Refusal
) -> None:
    verdict = judge(received(multipart(callback()), content_sha256=header), policy(body_signature=mode))
    if isinstance(outcome, BodySignature):
        assert isinstance(verdict, Accepted)
        assert verdict.body_signature is outcome
    else:
        assert isinstance(verdict, RefusedCallback)
        assert (verdict.reason, verdict.status) == (outcome, 401)


def test_a_body_changed_after_signing_shows_as_wrong() -> None:
    text = callback().replace(b"{", b"{ ", 1)
    assert accepted(received(multipart(text), content_sha256=GENUINE)).body_signature is BodySignature.WRONG


def test_every_reason_has_a_status() -> None:
    assert set(STATUS) == set(Refusal)


def test_a_policy_never_shows_its_keys() -> None:
    assert KEY not in repr(POLICY)


@pytest.mark.parametrize(
    ("event_type", "at", "named"),
    [
        ("deedbox.document_stored", NOW, "Deedbox's own"),
        ("deedbox.", NOW, "Deedbox's own"),
        ("03277signature_request_sent", 17957, "digit"),
        ("signature_request_sent", NOW + 86_401, "ahead"),
        ("signature_request_sent", 2**53, "ahead"),
    ],
)
def test_what_no_event_of_the_vendor_has_is_refused_though_its_hash_fits(
    event_type: str, at: int, named: str
) -> None:
    verdict = refused(received(multipart(callback(event_type, at))))
    assert (verdict.reason, named in verdict.detail) == (Refusal.BAD_FIELD, True)


def test_a_hash_that_is_cut_elsewhere_is_no_callback() -> None:
    """It signs time and type without a separator, so that one hash fits several pairs."""
    genuine = json.loads(callback("signature_request_sent", 1_795_703_277))["event"]["event_hash"]
    accepted(received(multipart(callback("signature_request_sent", 1_795_703_277))))
    cut = {"event_type": "277signature_request_sent", "event_time": "1795703", "event_hash": genuine}
    assert refused(received(multipart(json.dumps({"event": cut}).encode()))).reason is Refusal.BAD_FIELD


@pytest.mark.parametrize("at", [NOW + 86_400, NOW - 10 * 86_400, 0])
def test_a_time_within_a_day_ahead_or_of_the_past_is_taken(at: int) -> None:
    assert accepted(received(multipart(callback(event_time=at)))).event_type
