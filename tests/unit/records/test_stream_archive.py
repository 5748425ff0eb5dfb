"""The archive of a stream: what went in comes out, and no bytes can make its reader fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared import codec
from deedbox.shared.archives.stream_archive import LIMIT_BYTES, VALUES, ArchivedEvent, StreamArchive
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.fields import Unreadable

LAW = settings(derandomize=True, max_examples=60, deadline=None)

HEX = st.text("0123456789abcdef", min_size=30, max_size=66).map(str.encode)
BYTES = (
    st.binary(max_size=30)
    | HEX
    | st.builds(b'"%b":'.__mod__, HEX)
    | st.sampled_from([b"\xff", b"\xff\xff\xff"])
)
TEXT = st.builds(lambda ids: b'{"event":{"event_type":"signature_request_sent","ids":["%b"]}}' % b'","'.join(ids), st.lists(HEX))  # fmt: skip


def _compressed(text: bytes) -> dict[bytes, bytes]:
    name, body = codec.encode(text)
    return {b"codec": name.encode(), b"body": body}


FIELDS = st.dictionaries(st.sampled_from([b"head", b"clean", b"body", b"codec", b"sealed"]), BYTES)
EVENTS = st.builds(ArchivedEvent, FIELDS | TEXT.map(_compressed), st.integers(0, 2**33))
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
        events: dict[bytes, Any] = {b"%d" % n: ArchivedEvent(_compressed(text % n), 1) for n in range(count)}
        return len(StreamArchive(events=events).dump() or b"")

    assert archive(9) < 2 * archive(1)
