"""The laws of the spool's bytes: what was written is read back, and damage costs only what it hit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deedbox.ingress.spool.frames import (
    HEAD_BYTES,
    Damage,
    Frame,
    count,
    decode_progress,
    encode,
    encode_progress,
    head,
    marker_of,
    walk,
)

MARKER = b"\x00marker\xff"

PAYLOADS = st.lists(st.binary(max_size=60), max_size=6)


def segment(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """Return a segment and the offsets at which its frames end; received_at counts from 100."""
    data, ends = head(MARKER), []
    for at, payload in enumerate(payloads):
        data += encode(MARKER, 100.0 + at, payload)
        ends.append(len(data))
    return data, ends


def read_all(data: bytes) -> list[Frame | Damage]:
    return list(walk(lambda at, n: data[at : at + n], HEAD_BYTES, len(data), MARKER))


def payloads_of(items: list[Frame | Damage]) -> list[bytes]:
    return [item.payload for item in items if isinstance(item, Frame)]


@given(PAYLOADS)
def test_what_was_written_is_read_back(payloads: list[bytes]) -> None:
    data, ends = segment(payloads)
    found = read_all(data)
    assert payloads_of(found) == payloads
    assert [item.end for item in found] == ends
    assert [item.received_at for item in found if isinstance(item, Frame)] == [
        100.0 + at for at in range(len(payloads))
    ]


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=3))
def test_a_segment_cut_anywhere_gives_every_whole_frame_and_names_the_rest(payloads: list[bytes]) -> None:
    data, ends = segment(payloads)
    for cut in range(HEAD_BYTES, len(data)):
        found = read_all(data[:cut])
        whole = [end for end in ends if end <= cut]
        assert payloads_of(found) == payloads[: len(whole)]
        torn = [item for item in found if isinstance(item, Damage)]
        start = whole[-1] if whole else HEAD_BYTES
        assert torn == ([Damage(start, cut)] if cut > start else [])


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_a_flipped_bit_costs_one_frame_and_no_other(payloads: list[bytes], draw: st.DataObject) -> None:
    data, ends = segment(payloads)
    at = draw.draw(st.integers(HEAD_BYTES, len(data) - 1))
    bit = draw.draw(st.integers(0, 7))
    damaged = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
    hit = next(index for index, end in enumerate(ends) if at < end)
    found = read_all(damaged)
    assert payloads_of(found) == payloads[:hit] + payloads[hit + 1 :]
    start = ends[hit - 1] if hit else HEAD_BYTES
    assert Damage(start, ends[hit]) in found


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.binary(min_size=1, max_size=50))
def test_garbage_behind_the_last_frame_is_named_and_not_read(payloads: list[bytes], garbage: bytes) -> None:
    data, _ = segment(payloads)
    found = read_all(data + garbage)
    assert payloads_of(found) == payloads
    assert found[-1] == Damage(len(data), len(data) + len(garbage))


@given(PAYLOADS, st.binary(max_size=30))
def test_every_byte_is_accounted_for(payloads: list[bytes], garbage: bytes) -> None:
    data = segment(payloads)[0] + garbage
    at = HEAD_BYTES
    for item in read_all(data):
        assert item.start == at
        at = item.end
    assert at == len(data)


def test_a_frame_inside_a_payload_never_passes_for_one() -> None:
    """A body is the sender's text: damage must not let a frame that hides in it come out as verified."""
    forged = encode(b"guessed!", 1.0, b"forged")
    data, _ = segment([b"before", forged, b"after"])
    for at in range(HEAD_BYTES, len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert b"forged" not in payloads_of(read_all(broken))


def test_a_length_that_points_far_behind_the_end_is_damage() -> None:
    data, _ = segment([b"x"])
    broken = data[: HEAD_BYTES + 8] + b"\xff\xff\xff\xff" + data[HEAD_BYTES + 12 :]
    assert read_all(broken) == [Damage(HEAD_BYTES, len(data))]


@given(PAYLOADS)
def test_counting_agrees_with_reading(payloads: list[bytes]) -> None:
    data, _ = segment(payloads)
    found = count(lambda at, n: data[at : at + n], HEAD_BYTES, len(data), MARKER)
    assert found == (len(payloads), 100.0 if payloads else None)


@given(st.binary(max_size=40))
def test_only_a_head_of_this_version_has_a_marker(text: bytes) -> None:
    assert marker_of(lambda at, n: head(MARKER)[at : at + n]) == MARKER
    if not text.startswith(b"DEEDBOX\x01"):
        assert marker_of(lambda at, n: text[at : at + n]) is None


@given(st.integers(HEAD_BYTES, 2**40))
def test_progress_is_read_back(done: int) -> None:
    assert decode_progress(MARKER, encode_progress(MARKER, done)) == done


@given(st.integers(HEAD_BYTES + 1, 2**40), st.data())
def test_progress_that_is_torn_or_of_another_segment_begins_anew(done: int, draw: st.DataObject) -> None:
    record = encode_progress(MARKER, done)
    torn = record[: draw.draw(st.integers(0, len(record) - 1))]
    at = draw.draw(st.integers(0, len(record) - 1))
    flipped = record[:at] + bytes([record[at] ^ 4]) + record[at + 1 :]
    assert decode_progress(MARKER, torn) == HEAD_BYTES
    assert decode_progress(MARKER, flipped) == HEAD_BYTES
    assert decode_progress(b"another.", record) == HEAD_BYTES
