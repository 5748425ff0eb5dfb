"""The archive of a stream: what went in comes out, and no bytes can make its reader fail."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared import codec
from deedbox.shared.archives.stream_archive import LIMIT_BYTES, VALUES, ArchivedEvent, StreamArchive
from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.core.identity import OrderingKey, identify
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.records import timeline_line
from deedbox.shared.records.stored_event import SEALED, StoredEvent
from tests.unit.records.samples import STORED

LAW = settings(derandomize=True, max_examples=60, deadline=None)

HEX = st.text("0123456789abcdef", min_size=30, max_size=66).map(str.encode)
BYTES = (
    st.binary(max_size=30)
    | HEX
    | st.builds(b'"%b":'.__mod__, HEX)
    | st.sampled_from([b"\xff", b"\xff\xff\xff"])
)
TEXT = st.builds(lambda ids: b'{"event":{"event_type":"signature_request_sent","ids":["%b"]}}' % b'","'.join(ids), st.lists(HEX))  # fmt: skip


FIELDS = st.dictionaries(st.sampled_from([b"head", b"clean", b"body", b"text", b"sealed"]), BYTES)
EVENTS = st.builds(ArchivedEvent, FIELDS, st.integers(0, 2**33))
ARCHIVES = st.builds(
    StreamArchive,
    st.dictionaries(BYTES, st.floats(0, 2**40)),
    st.lists(BYTES).map(tuple),
    st.dictionaries(st.sampled_from(VALUES), BYTES.filter(bool)),
    st.dictionaries(BYTES, BYTES),
    st.dictionaries(BYTES, EVENTS),
    st.integers(0, 2**33),
)


@LAW
@given(ARCHIVES)
def test_an_archive_is_read_back_as_it_was_written(archive: StreamArchive) -> None:
    assert StreamArchive.load(archive.dump() or b"") == archive


@LAW
@given(ARCHIVES, st.data())
def test_a_damaged_archive_is_unreadable_or_one_of_its_form(
    archive: StreamArchive, data: st.DataObject
) -> None:
    stored = bytearray(archive.dump() or b"")
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    for text in (
        bytes(stored),
        bytes(stored[: data.draw(st.integers(0, len(stored)))]),
        data.draw(st.binary()),
    ):
        found = StreamArchive.load(text)
        assert isinstance(found, Unreadable) or found.dump() is not None


@LAW
@given(st.lists(BYTES).map(b"".join))
def test_a_record_is_unpacked_as_it_was_packed(record: bytes) -> None:
    assert codec.unpack(codec.pack(record), len(record)) == record


def test_a_record_that_is_larger_than_allowed_is_refused() -> None:
    packed = codec.pack(b"a" * 1000)
    with pytest.raises(Undecodable):
        codec.unpack(packed, 999)


def test_ids_that_unpack_to_more_than_allowed_are_refused() -> None:
    packed = codec.pack(b'"' + b"ab" * 16 + b'"' * 9)
    with pytest.raises(Undecodable):
        codec.unpack(packed, 20)


def test_more_ids_than_there_are_numbers_stay_as_they_are() -> None:
    record = b"".join(b'"%032x"' % number for number in range(70_000))
    assert codec.unpack(codec.pack(record), len(record)) == record


def test_what_would_be_too_large_is_not_archived() -> None:
    assert StreamArchive(timeline=(b"a" * LIMIT_BYTES,)).dump() is None


def test_bodies_that_share_their_text_take_little_more_than_one() -> None:
    def archive(count: int) -> int:
        text = b'{"event":{"event_type":"signature_request_viewed","event_time":"%d"},"title":"a lease"}'
        events = {
            b"%d" % n: ArchivedEvent(fields_of(replace(STORED, **_body(text % n))), 1).plain()
            for n in range(count)
        }
        return len(StreamArchive(events=events).dump() or b"")

    assert archive(9) < 2 * archive(1)


def _body(text: bytes) -> dict[str, Any]:
    name, body = codec.encode(text)
    return {"codec": name, "body": body}


STORED_EVENTS = st.builds(
    replace,
    st.just(STORED),
    source=st.text(max_size=80), ordering_key=st.text(max_size=80) | HEX.map(bytes.decode), event_type=st.text(max_size=80),
    related_signature_id=st.none() | st.text(max_size=80) | HEX.map(bytes.decode), trace_id=st.text(max_size=80),
    body_signature=st.sampled_from(BodySignature), origin=st.sampled_from(Origin), received_at=st.floats(0, 2**37),
)  # fmt: skip
BODIES: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict, codec=st.just(""), body=st.binary(max_size=2000)
) | TEXT.map(_body)


def fields_of(stored: StoredEvent) -> dict[bytes, bytes]:
    """Return the hash of an event."""
    flat = [each.encode() if isinstance(each, str) else each for each in stored.fields()]
    return dict(zip(flat[::2], flat[1::2], strict=True))


@LAW
@given(STORED_EVENTS, BODIES | st.just({"codec": "", "body": b"x" * 5000}), st.booleans())
def test_an_event_is_read_back_from_its_fields_and_from_its_archive(
    stored: StoredEvent,
    body: dict[str, Any],
    sealed: bool,  # noqa: FBT001
) -> None:
    stored = replace(stored, **body)
    stored = replace(stored, codec=SEALED + stored.codec) if sealed else stored
    fields = {**fields_of(stored), b"clean": b"1-1 1"}
    assert StoredEvent.load(stored.fingerprint, fields) == stored
    name = stored.fingerprint.encode()
    archive = StreamArchive(events={name: ArchivedEvent(fields, 1)}).plain()
    restored = StreamArchive.load(archive.dump() or b"")
    assert isinstance(restored, StreamArchive)
    assert restored == archive
    live = restored.events[name].live()
    assert StoredEvent.load(stored.fingerprint, live) == stored
    assert {n: live[n] for n in live if len(n) > 1} == {n: fields[n] for n in fields if len(n) > 1}


HASH = "0f" * 32
CALLBACKS = st.fixed_dictionaries(
    {"event": st.fixed_dictionaries({"event_type": st.just("signature_request_sent"), "event_time": st.just("1"), "event_hash": st.just(HASH)})},
    optional={"metadata": st.dictionaries(st.sampled_from(["event_hash", "note"]), st.sampled_from([HASH, f'"event_hash":"{HASH}"', "x"]))},
)  # fmt: skip


@LAW
@given(CALLBACKS, st.sampled_from([None, 1]))
def test_an_archived_callback_says_what_it_said_and_its_hash_is_gone(
    callback: dict[str, Any], indent: int | None
) -> None:
    """Where it is not clear which hash is the event's, none is left out: metadata stay as they are."""
    text = (json.dumps(callback, indent=indent) + " " * 64).encode()
    stored = replace(STORED, **_body(text))
    kept = ArchivedEvent(fields_of(stored), 1).plain()
    archived = StoredEvent.load(stored.fingerprint, kept.live())
    assert isinstance(archived, StoredEvent)
    assert archived.payload() == stored.payload()
    if "event_hash" not in callback.get("metadata", {}):
        assert kept.fields[b"text"].count(HASH.encode()) == text.count(HASH.encode()) - 1
    assert parse_callback(codec.decode(archived.codec, archived.body)).event_hash, "a redrive can parse it"


def test_an_archived_event_without_a_subject_keeps_its_identity_which_is_its_body() -> None:
    text = json.dumps({"event": {"event_type": "novel", "event_time": "1", "event_hash": HASH}}).encode()
    stored = replace(STORED, ordering_key=str(OrderingKey("type", "novel")), **_body(text))
    archived = StoredEvent.load("", ArchivedEvent(fields_of(stored), 1).plain().live())
    assert isinstance(archived, StoredEvent)
    bodies = [parse_callback(codec.decode(each.codec, each.body)) for each in (stored, archived)]
    assert identify("default", bodies[0]) == identify("default", bodies[1])
    one, other = (replace(each, body_digest="").with_digest().body_digest for each in (stored, archived))
    assert one == other


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"a":' * 990 + b"1" + b"}" * 990, b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_a_digest_is_made_of_whatever_is_stored(text: bytes) -> None:
    """It is made after a callback was taken: what cannot be digested must not wedge its shard."""
    assert replace(STORED, codec="", body=text, body_digest="").with_digest().body_digest


LINES = st.lists(
    st.fixed_dictionaries(
        {"at": st.floats(0, 2**31), "kind": st.sampled_from(["arrived", "released", "note"])},
        optional={"event": st.text(max_size=70) | HEX.map(bytes.decode), "detail": st.text(max_size=70), "n": st.integers(0, 9)},
    ),
    max_size=30,
)  # fmt: skip


@LAW
@given(LINES, st.sampled_from([b"", b"7"]), BYTES)
def test_a_timeline_is_the_same_packed_plain_and_packed_again(
    lines: list[dict[str, Any]], generation: bytes, foreign: bytes
) -> None:
    elements = [generation + each for each in timeline_line.dump(lines)]
    told = [line | ({"generation": 7} if generation and line["kind"] == "released" else {}) for line in lines]
    plain = list(map(timeline_line.plain, elements))
    for form in (elements, plain, list(map(timeline_line.packed, plain))):
        assert [line for each in form for line in timeline_line.load(each) or ()] == told
    assert timeline_line.packed(timeline_line.plain(foreign)) == foreign, "what is not ours stays as it is"


@LAW
@given(st.lists(BYTES).map(b"".join), st.lists(HEX.map(bytes.decode) | st.none() | st.integers()))
def test_a_record_is_unpacked_whatever_ids_its_writer_names(record: bytes, ids: list[object]) -> None:
    named = [each for each in ids if isinstance(each, str)]
    record += b'"%b"' % " ".join(named).encode()
    assert codec.unpack(codec.pack(record, ids=ids), len(record)) == record
