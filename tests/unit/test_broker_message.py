"""The form of broker messages in Redis: short, and readable by kombu."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.broker.message import decode_kombu, encode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.identity import SHARDS, shard_of
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis.inbox import Load, stream_of
from deedbox.shared.redis.keys import RAW_QUEUE
from tests.unit.ingress.wire import callback

KEY = "signature_request/" + "ab" * 20
ENVELOPES = st.builds(
    Envelope,
    source=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    received_at=st.floats(0, 2.0**40),
    body_signature=st.sampled_from(BodySignature),
    trace_id=st.from_regex(r"[0-9a-f]{32}", fullmatch=True) | st.text("xyz", min_size=1),
    body=st.binary(max_size=40),
    redrive=st.sampled_from(["", "7", "-", "with space", "é"]),
    codec=st.sampled_from(["", "zstd-1", "-x"]),
    span_id=st.sampled_from(["", "0123456789abcdef"]),
    shard=st.none() | st.integers(0, SHARDS - 1),
)
ENVELOPE = Envelope(
    "default", 1_700_000_000.25, BodySignature.VALID, "0a" * 16, b"\x00{}", codec="zstd-1", key=KEY
)


def read(message: bytes) -> Envelope:
    return Envelope.from_headers(*decode_kombu(message))


def written(envelope: Envelope) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode_kombu(envelope.headers(), envelope.body))
    return document


@given(ENVELOPES)
def test_every_envelope_survives_whatever_fits_into_the_short_form(envelope: Envelope) -> None:
    assert read(encode_kombu(envelope.headers(), envelope.body)) == envelope


@given(ENVELOPES, st.sampled_from([KEY, "type/x", "template/é \n"]))
def test_of_the_ordering_key_the_shard_is_left_and_is_the_same(envelope: Envelope, key: str) -> None:
    headers = {**envelope.headers(), "key": key}
    headers.pop("shard", None)
    found = read(encode_kombu(headers, envelope.body))
    assert found.shard == shard_of(f"{envelope.source}:{key}")


def test_the_short_form_is_what_the_documentation_says() -> None:
    document = written(ENVELOPE)
    shard = shard_of("default:" + KEY)
    assert document["headers"] == {
        "deedbox": [1, "default", 1_700_000_000.25, "valid", "0a" * 16, shard, "zstd-1"]
    }
    assert document["body"] == "AHt9"
    assert document["properties"].pop("delivery_tag")
    assert document["properties"] == {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": RAW_QUEUE},
    }
    assert set(document) == {"body", "headers", "properties"}


def test_a_callback_of_3_kb_takes_less_than_700_bytes() -> None:
    assert len(encode_kombu(ENVELOPE.headers(), bytes(312))) < 700


@given(ENVELOPES, ENVELOPES)
def test_messages_that_differ_have_delivery_tags_that_differ(one: Envelope, other: Envelope) -> None:
    tags = [written(each)["properties"]["delivery_tag"] for each in (one, other)]
    assert (tags[0] == tags[1]) is (one == other)


@pytest.mark.parametrize("headers", [{}, {"x": 1}, {**ENVELOPE.headers(), "x": "y"}, {"deedbox": 1}])
def test_headers_that_are_no_envelopes_are_kept_as_they_are(headers: dict[str, Any]) -> None:
    assert decode_kombu(encode_kombu(headers, b"raw")) == (headers, b"raw")


KOMBUS_OWN = {
    "body": "AHt9",
    "content-encoding": "binary",
    "content-type": "application/octet-stream",
    "headers": ENVELOPE.headers(),
    "properties": {
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": RAW_QUEUE},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "2f01ca23-77f5-4e41-a32f-61d0eaa25e27",
    },
}


def test_a_message_that_kombu_itself_wrote_is_read() -> None:
    assert read(json.dumps(KOMBUS_OWN).encode()) == ENVELOPE


LISTED = [1, "default", 1.0, "valid", "0a" * 16]


@pytest.mark.parametrize(
    "listed",
    [
        [], [1], [2, *LISTED[1:]], LISTED[:4], [*LISTED[:2], "soon", *LISTED[3:]], [*LISTED[:3], "v", "0a" * 16],
        [1, "../x", *LISTED[2:]], [*LISTED[:4], ""], [*LISTED, SHARDS], [*LISTED, "x"], [*LISTED, 0, 7],
    ],
)  # fmt: skip
def test_a_list_of_headers_that_is_ill_formed_is_undecodable(listed: list[object]) -> None:
    with pytest.raises(Undecodable):
        read(json.dumps({**KOMBUS_OWN, "headers": {"deedbox": listed}}).encode())


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers())))
def test_any_list_of_headers_decodes_or_is_undecodable(listed: list[object]) -> None:
    with suppress(Undecodable):
        read(json.dumps({**KOMBUS_OWN, "headers": {"deedbox": listed}}).encode())


@pytest.mark.parametrize("shard", [-1, SHARDS, True, "1", 1.0, None])
def test_a_shard_that_there_is_not_is_undecodable(shard: object) -> None:
    with pytest.raises(Undecodable):
        Envelope.from_headers({**ENVELOPE.headers(), "shard": shard}, b"")


def test_with_and_without_a_shard_a_callback_comes_to_the_same_one() -> None:
    plain = Envelope("default", 1.5, BodySignature.VALID, "0a" * 16, callback())
    message = encode_kombu(plain.headers(), plain.body)
    stream = stream_of(message)
    keyed = {**plain.headers(), "key": stream.partition(":")[2]}
    load = Load()
    load.add_message(message)
    load.add_message(encode_kombu(keyed, plain.body))
    assert load.entries[0] == load.entries[1]
    assert stream_of(encode_kombu(keyed, plain.body)) == stream
