"""What travels inside: every form is read back as it was written, and what is none is undecodable."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import kombu
import kombu.compression
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.broker.message import decode_kombu, decompress, encode_kombu
from deedbox.shared.core.envelope import SCHEMA_VERSION, Envelope, decode_inbox
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.signature import BodySignature

LAW = settings(derandomize=True, max_examples=80, deadline=None)

BODIES = st.binary(max_size=80)
TEXTS = st.text(st.characters(), min_size=1, max_size=12)
ENVELOPES = st.builds(
    Envelope,
    source=st.text("abcXYZ019_-", min_size=1, max_size=12),
    received_at=st.floats(0.0, 2.0**53),
    body_signature=st.sampled_from(BodySignature),
    trace_id=st.text("0123456789abcdef", min_size=32, max_size=32),
    body=BODIES,
    redrive=st.just("") | st.text("abc123", max_size=5),
    codec=st.sampled_from(["", "zstd-1", "ring:", "ring:zstd-1"]),
    span_id=st.sampled_from(["", "0123456789abcdef"]),
).map(lambda each: replace(each, key="signature_request/a1") if each.is_sealed else each)
ENVELOPE = Envelope("default", 1_700_000_000.5, BodySignature.ABSENT, "0" * 32, b'{"event":{}}')


@LAW
@given(ENVELOPES)
def test_a_packed_envelope_is_unpacked_the_same(envelope: Envelope) -> None:
    assert Envelope.unpack(envelope.pack()) == envelope


@LAW
@given(ENVELOPES, st.floats(0.0, 2.0**40))
def test_an_inbox_entry_is_its_time_and_its_envelope(envelope: Envelope, at: float) -> None:
    assert decode_inbox(repr(at).encode() + b"\n" + envelope.pack()) == (at, envelope)


@LAW
@given(ENVELOPES)
def test_a_message_in_kombus_form_is_decoded_the_same(envelope: Envelope) -> None:
    headers, body = decode_kombu(encode_kombu(envelope.headers(), envelope.body))
    assert (headers, body) == (envelope.headers(), envelope.body)
    assert Envelope.from_headers(headers, body) == envelope


@LAW
@given(
    st.dictionaries(TEXTS.filter(lambda name: name != "compression"), TEXTS | st.integers() | st.none()),
    BODIES,
)
def test_any_headers_and_any_bytes_survive_kombus_form(headers: dict[str, Any], body: bytes) -> None:
    read, received = decode_kombu(encode_kombu(headers, body))
    assert (read, received) == (json.loads(json.dumps(headers)), body)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_kombu_itself_publishes_is_decoded(compression: str | None) -> None:
    """The real transport's message, taken from the queue as the bridge finds it."""
    body = bytes(range(256)) * 4
    with kombu.Connection("memory://") as connection:
        with connection.SimpleBuffer("envelopes") as queue:
            queue.put(body, headers=ENVELOPE.headers(), serializer=None, compression=compression, **RAW)
        message = json.dumps(connection.default_channel._get("envelopes")).encode()
    headers, received = decode_kombu(message)
    assert received == body
    assert Envelope.from_headers(headers, received).trace_id == ENVELOPE.trace_id


RAW = {"content_type": "application/octet-stream", "content_encoding": "binary"}


@pytest.mark.parametrize("name", ["zlib", "application/x-gzip"])
def test_the_compression_that_kombu_calls_gzip_is_zlib(name: str) -> None:
    packed, kombus_name = kombu.compression.compress(b"x" * 999, "zlib")
    assert kombus_name == "application/x-gzip"
    assert decompress(packed, name) == b"x" * 999


@pytest.mark.parametrize(
    ("data", "compression"),
    [
        (b"", "zlib"),
        (b"nothing", "zlib"),
        (zlib.compress(b"x" * 999)[:-3], "zlib"),
        (gzip.compress(b"x", mtime=0), "zlib"),
    ]
    + [(b"x", name) for name in ("", "bzip2", "application/zstd", "ZLIB")],
)
def test_a_body_that_cannot_be_inflated_is_undecodable(data: bytes, compression: str) -> None:
    with pytest.raises(Undecodable):
        decompress(data, compression)


def headers(**more: Any) -> dict[str, Any]:
    return ENVELOPE.headers() | more


WRONG: dict[str, list[object]] = {
    "deedbox": [0, SCHEMA_VERSION + 1, "1", None, "x" * 999],
    "source": ["", None, 7, [], {}],
    "received_at": [None, "soon", [], {}],
    "body_signature": ["good", "", None, 1, [], {}],
    "trace_id": ["", None, 7],
}


@pytest.mark.parametrize(
    "spoiled",
    [
        {},
        *({name: value for name, value in headers().items() if name != left_out} for left_out in headers()),
        *(headers(**{name: value}) for name, values in WRONG.items() for value in values),
    ],
)
def test_headers_of_another_schema_version_or_type_are_undecodable(spoiled: dict[str, Any]) -> None:
    with pytest.raises(Undecodable):
        Envelope.from_headers(spoiled, b"")


@pytest.mark.parametrize("received_at", [10**400, float("nan"), float("inf"), "nan", "-inf", "1e999"])
def test_a_receipt_at_no_finite_time_is_undecodable(received_at: object) -> None:
    """Ages and orders are computed from it, and it is written as JSON again."""
    with pytest.raises(Undecodable):
        Envelope.from_headers(headers(received_at=received_at), b"")


@pytest.mark.parametrize("source", ["\ud800", "a/b", "a:b", "a b", "é", "x" * 65])
def test_a_source_that_no_setting_can_name_is_undecodable(source: str) -> None:
    """It becomes a part of keys: a lone surrogate would fail in the bridge, for ever, at every restart."""
    with pytest.raises(Undecodable):
        Envelope.from_headers(headers(source=source), b"")


@pytest.mark.parametrize("redrive", [None, 7, [], {}])
def test_a_redrive_mark_that_is_no_text_is_undecodable(redrive: object) -> None:
    with pytest.raises(Undecodable):
        Envelope.from_headers(headers(redrive=redrive), b"")


def test_an_unknown_header_is_ignored() -> None:
    assert Envelope.from_headers(headers(novel="x"), ENVELOPE.body) == ENVELOPE


def kombu_message(**more: Any) -> bytes:
    document: dict[str, Any] = json.loads(encode_kombu(headers(), b"{}"))
    return json.dumps(document | more).encode()


NOT_OF_KOMBU_PARTS: dict[str, list[object]] = {
    "headers": [None, [], "x", 7],
    "properties": [None, [], "x"],
    "body": [None, 7, [], {}, "not base64!", "é", "\ud800", "YQ"],
}
NOT_OF_KOMBU = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"[" * 100_000,
    *(kombu_message(**{name: value}) for name, values in NOT_OF_KOMBU_PARTS.items() for value in values),
    kombu_message(body="\ud800", properties={}),
]


@pytest.mark.parametrize("message", NOT_OF_KOMBU)
def test_what_kombu_never_writes_is_undecodable(message: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_kombu(message)


@pytest.mark.parametrize("name", [[], {}, 7, True, ["zlib"], {"x": 1}])
def test_a_compression_of_another_type_is_undecodable(name: object) -> None:
    with pytest.raises(Undecodable):
        decode_kombu(kombu_message(headers=headers(compression=name)))


@pytest.mark.parametrize(
    "entry", [b"", b"\n", b"{}", b"{}\n", b"[]\n", b"null\nx", b"{\n}", b"\xff\n", ENVELOPE.pack()[:20]]
)
def test_an_entry_without_its_headers_is_undecodable(entry: bytes) -> None:
    with pytest.raises(Undecodable):
        Envelope.unpack(entry)


def test_headers_nested_beyond_the_parsers_depth_are_undecodable() -> None:
    with pytest.raises(Undecodable):
        Envelope.unpack(b"[" * 100_000 + b"\n")


@pytest.mark.parametrize("at", [b"", b"soon", b"\xff", b"1 2", b"{}"])
def test_an_inbox_entry_without_its_time_is_undecodable(at: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_inbox(at + b"\n" + ENVELOPE.pack())


@pytest.mark.parametrize("at", [b"nan", b"inf", b"-inf", b"1e999"])
def test_an_inbox_entry_with_a_time_that_never_comes_is_undecodable(at: bytes) -> None:
    """Held since infinity, an event would be held for ever."""
    with pytest.raises(Undecodable):
        decode_inbox(at + b"\n" + ENVELOPE.pack())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SPOILED_HEADERS = st.builds(
    lambda name, value: headers(**{name: value}),
    st.sampled_from([*headers(), "redrive", "compression"]),
    JSON,
)


@st.composite
def mangled(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw bytes that were once right."""
    at = draw(st.integers(0, len(whole)))
    return whole[:at] + draw(st.binary(max_size=4)) + whole[at + draw(st.integers(0, 4)) :]


def decodes_or_is_undecodable(decode: Callable[[], object]) -> bool:
    try:
        decode()
    except Undecodable as error:
        return "\n" not in str(error)
    return True


@LAW
@given(
    st.binary(max_size=60)
    | mangled(encode_kombu(headers(), b"{}"))
    | SPOILED_HEADERS.map(lambda h: kombu_message(headers=h))
)
def test_any_message_decodes_or_is_undecodable(message: bytes) -> None:
    assert decodes_or_is_undecodable(lambda: Envelope.from_headers(*decode_kombu(message)))


@LAW
@given(st.binary(max_size=60) | mangled(b"1.5\n" + ENVELOPE.pack()))
def test_any_inbox_entry_decodes_or_is_undecodable(entry: bytes) -> None:
    assert decodes_or_is_undecodable(lambda: decode_inbox(entry))


@LAW
@given(SPOILED_HEADERS, BODIES)
def test_any_headers_decode_or_are_undecodable(spoiled: dict[str, Any], body: bytes) -> None:
    assert decodes_or_is_undecodable(lambda: Envelope.from_headers(spoiled, body))


@LAW
@given(st.binary(max_size=60), st.sampled_from(["zlib", "application/x-gzip", None]))
def test_any_compressed_body_inflates_or_is_undecodable(data: bytes, name: str | None) -> None:
    assert decodes_or_is_undecodable(lambda: decompress(data, name))


def test_a_body_of_kombu_that_is_plain_text_is_read_as_utf8() -> None:
    assert decode_kombu(kombu_message(body="é", properties={}))[1] == "é".encode()
    assert base64.b64decode(json.loads(encode_kombu({}, b"\xff"))["body"]) == b"\xff"


@pytest.mark.parametrize(
    "head",
    [b"[]", b"[2]", b'[2,"a",1,"valid","t"]', b'[1,"a"]', b'[1,"a",1,"valid","t","x","","","","",""]',
     b'[1,"a",1,"valid","t","","","","deedbox"]', b"[1", b"1", b'"1"', b"{}"],
)  # fmt: skip
def test_an_entry_of_another_schema_version_is_undecodable(head: bytes) -> None:
    with pytest.raises(Undecodable):
        Envelope.unpack(head + b"\n{}")
