"""From the ``json`` text to a callback: lenient where the vendor is free, strict where identity depends on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.callback import (
    DEPTH_MAX,
    EVENT_TIME_MAX,
    TYPE_MAX_CHARS,
    ParsedCallback,
    is_too_deep,
    outward,
    outward_text,
    parse_callback,
    parse_json,
)
from deedbox.shared.core.errors import BadCallback
from tests.unit.core.wire import document, parsed

LAW = settings(derandomize=True, max_examples=120, deadline=None)


def text(event: str, more: str = "") -> bytes:
    """Return a text whose event object is written by hand."""
    return b'{"event":{' + event.encode() + b"}" + more.encode() + b"}"


GOOD = '"event_type":"fax_sent","event_time":"1700000000","event_hash":"ab"'


def outcome(body: bytes) -> ParsedCallback | BadCallback:
    """Return what becomes of a text; an error of any other kind fails the test."""
    try:
        return parse_callback(body)
    except BadCallback as refused:
        return refused


def refusal(body: bytes) -> BadCallback:
    refused = outcome(body)
    assert isinstance(refused, BadCallback)
    return refused


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "event"),
        (b'{"event":null}', "event"),
        (b'{"event":[]}', "event"),
        (b'{"event":"x"}', "event"),
        (text('"event_time":"1","event_hash":"a"'), "event.event_type"),
        (text('"event_type":7,"event_time":"1","event_hash":"a"'), "event.event_type"),
        (text('"event_type":"","event_time":"1","event_hash":"a"'), "event.event_type"),
        (text('"event_type":"a b","event_time":"1","event_hash":"a"'), "event.event_type"),
        (text('"event_type":"a\\ud800","event_time":"1","event_hash":"a"'), "event.event_type"),
        (text('"event_type":"a\\n","event_time":"1","event_hash":"a"'), "event.event_type"),
        (text('"event_type":"t","event_hash":"a"'), "event.event_time"),
        (text('"event_type":"t","event_time":"1"'), "event.event_hash"),
        (text('"event_type":"t","event_time":"1","event_hash":""'), "event.event_hash"),
        (text('"event_type":"t","event_time":"1","event_hash":9'), "event.event_hash"),
    ],
)
def test_a_refusal_names_the_field(body: bytes, field: str) -> None:
    error = refusal(body)
    assert error.field == field
    assert field in error.detail


@pytest.mark.parametrize(
    "time",
    [
        '""',
        '"-1"',
        '"1.5"',
        '" 1"',
        '"1\\n"',
        '"x"',
        '"١٢"',
        '"12345678901234567"',
        "1.5",
        "1e3",
        "-1",
        "true",
        "[]",
        "{}",
        "null",
        str(EVENT_TIME_MAX + 1),
        f'"{EVENT_TIME_MAX + 1}"',
        "1" + "0" * 4000,
    ],
)
def test_a_time_that_is_no_unix_second_is_refused_by_name(time: str) -> None:
    body = text(f'"event_type":"t","event_time":{time},"event_hash":"a"')
    assert refusal(body).field == "event.event_time"


@pytest.mark.parametrize("time", ["0", "1700000000", "0001700000000", str(EVENT_TIME_MAX)])
def test_the_received_text_of_a_time_is_kept(time: str) -> None:
    callback = parsed(document(event_time=time))
    assert (callback.event_time, callback.event_time_text) == (int(time), time)


@pytest.mark.parametrize("time", [0, 1_700_000_000, EVENT_TIME_MAX])
def test_an_integer_time_is_accepted_and_hashed_as_text(time: int) -> None:
    callback = parsed(document(event_time=time))
    assert (callback.event_time, callback.event_time_text) == (time, str(time))


def test_the_longest_type_is_accepted_and_one_more_character_is_not() -> None:
    assert parsed(document("a" * TYPE_MAX_CHARS)).event_type == "a" * TYPE_MAX_CHARS
    assert refusal(json.dumps(document("a" * (TYPE_MAX_CHARS + 1))).encode()).field == "event.event_type"


def test_an_unknown_type_and_unknown_fields_are_accepted() -> None:
    callback = parse_callback(
        text('"event_type":"of_next_year","event_time":"1","event_hash":"a"', ',"x":[{}]')
    )
    assert (callback.event_type, callback.payload["x"]) == ("of_next_year", [{}])


@pytest.mark.parametrize(
    "metadata",
    ["", ',"event_metadata":null', ',"event_metadata":[]', ',"event_metadata":{}']
    + [f',"event_metadata":{{"related_signature_id":{value}}}' for value in ("null", '""', "7", "[]", "{}")],
)
def test_missing_metadata_and_empty_ids_mean_no_signer(metadata: str) -> None:
    assert parse_callback(text(GOOD + metadata)).related_signature_id is None


def test_the_related_signature_is_read() -> None:
    assert parsed(document(related="s1")).related_signature_id == "s1"


def test_of_a_repeated_field_the_last_one_counts_for_everything() -> None:
    callback = parse_callback(text(GOOD + ',"event_type":"fax_busy","event_time":7'))
    assert (callback.event_type, callback.event_time_text) == ("fax_busy", "7")
    assert callback.payload["event"]["event_type"] == "fax_busy"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"event"',
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"event": NaN}',
        b'{"x": Infinity, "event": {}}',
        b'{"x": -Infinity}',
        b'{"x": "\xff"}',
        b'{"x": "\xed\xa0\x80"}',
        b'{"x": "a\nb"}',
        b"{'x': 1}",
        "{}".encode("utf-16"),
        b"1" * 5000,
        b'{"x": ' + b"1" * 5000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused_in_one_line(body: bytes) -> None:
    error = refusal(body)
    assert "\n" not in error.detail
    assert len(error.detail) < 120


def test_a_refusal_never_quotes_the_text() -> None:
    for body in (b'{"signer_name": "Ada Marsh",}', b'{"signer_name": Ada}', text('"event_type":"Ada Marsh"')):
        assert "Ada" not in refusal(body).detail


def test_a_number_that_overflows_to_infinity_is_refused() -> None:
    """As strict as for the word: an action that writes the payload as JSON again must not write `Infinity`."""
    for number in ("1e999", "-1e999"):
        with pytest.raises(BadCallback):
            parse_json(f'{{"x": {number}}}'.encode())


def test_large_and_small_numbers_that_a_float_holds_are_accepted() -> None:
    assert parse_json(b'{"x": 1e308, "y": 1e-999, "z": 9007199254740993}') == {
        "x": 1e308,
        "y": 0.0,
        "z": 2**53 + 1,
    }


def test_lone_surrogates_in_texts_are_carried() -> None:
    callback = parse_callback(text(GOOD + ',"event_metadata":{"related_signature_id":"a\\ud800"}'))
    assert callback.related_signature_id == "a\ud800"


PIECES = st.sampled_from(
    [
        b'{"event":',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"event_type":',
        b'"event_time":',
        b'"event_hash":',
        b'"a"',
        b"1",
        b"-",
        b"1e999",
        b"NaN",
        b"null",
        b'"\\ud800"',
        b"\\",
        b'"',
        b"\xff",
        b"\xef\xbb\xbf",
        text(GOOD),
    ]
)


@LAW
@given(st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=12).map(b"".join)))
def test_any_bytes_are_a_callback_or_a_refusal(body: bytes) -> None:
    result = outcome(body)
    if isinstance(result, BadCallback):
        assert "\n" not in result.detail
    else:
        assert 0 <= result.event_time <= EVENT_TIME_MAX


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@LAW
@given(
    st.dictionaries(
        st.sampled_from(["event_type", "event_time", "event_hash", "event_metadata"]),
        JSON | st.just("1") | st.fixed_dictionaries({"related_signature_id": JSON}),
    )
)
def test_any_event_object_is_a_callback_or_a_refusal_that_names_one_of_its_fields(
    event: dict[str, object],
) -> None:
    body = json.dumps({"event": event}).encode()
    result = outcome(body)
    if isinstance(result, BadCallback):
        assert result.field in {f"event.{name}" for name in ("event_type", "event_time", "event_hash")}
    else:
        assert result.related_signature_id != ""


@pytest.mark.parametrize("wide", [0, 300])
@pytest.mark.parametrize(("levels", "deep"), [(1, False), (DEPTH_MAX - 1, False), (DEPTH_MAX, True)])
def test_depth_is_told_whatever_else_a_text_holds(levels: int, deep: bool, wide: int) -> None:  # noqa: FBT001
    text = b'{"w":[%s],"s":"[[[{{{","a":%s%s}' % (b",".join([b"{}"] * wide), b"[" * levels, b"]" * levels)
    assert is_too_deep(text, json.loads(text)) is deep


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        b'{"event": {"event_type": "x", "event_hash": "%b"}}',
        b'{"event":{"event_hash":"%b","event_type":"x"}}',
        b'{"event" : {"event_hash" : "%b"}, "rest": [',
        b'{"event": {"event\\u005fhash": "%b"}}',
        b'{"event": {"event_hash": "\\u0030%b"}}',
    ],
)
def test_the_hash_leaves_in_no_text(text: bytes) -> None:
    found = outward_text(text % HASH.encode())
    assert HASH.encode()[1:] not in found
    assert outward_text(found) == found


def test_a_payload_leaves_without_its_hash_and_is_itself_left_alone() -> None:
    payload = document()
    shown = outward(payload)
    assert "event_hash" not in shown["event"]
    assert payload["event"]["event_hash"]
    assert {**shown, "event": {**shown["event"], "event_hash": payload["event"]["event_hash"]}} == payload
    odd: list[dict[str, Any]] = [{}, {"event": None}, {"event": []}, {"event": {}}]
    assert [outward(each) for each in odd] == odd


@given(st.text(st.characters(exclude_categories=()), max_size=50_000))
@settings(derandomize=True, max_examples=20, deadline=None)
def test_any_text_leaves_as_some_text(text: str) -> None:
    outward_text(text.encode("utf-8", "surrogatepass"))
