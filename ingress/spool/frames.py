"""The bytes of a spool segment, without a file: frames in, frames or damage out.

A segment begins with its head: eight bytes of magic and version, then eight random bytes, the segment's marker. Each
frame begins with that marker, so that reading can go on behind a damaged frame. The marker is random because a
body is the sender's text: with a fixed one, a sender could put a whole frame into a body, and damage before it
would let it pass for a callback that was verified.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

MAGIC: Final = b"DEEDBOX\x01"
"""The last byte is the version of the format."""

MARKER_BYTES: Final = 8
HEAD_BYTES: Final = len(MAGIC) + MARKER_BYTES

_FRAME: Final = struct.Struct(">8sIdI")
"""Marker, length of the payload, received_at, CRC-32 of all the others."""

FRAME_HEAD_BYTES: Final = _FRAME.size

_PROGRESS: Final = struct.Struct(">QI")
PROGRESS_BYTES: Final = _PROGRESS.size
"""Well below a sector, so that a disk writes all of it or nothing."""

_SEARCH_BYTES: Final = 1 << 20

Read = Callable[[int, int], bytes]
"""Returns up to so many bytes (second) from an offset (first) on; fewer at the end."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One spooled callback and where it lies."""

    start: int
    end: int
    received_at: float
    """Unix seconds."""
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no frame: a write that a power cut tore, or a disk that forgets."""

    start: int
    end: int


def head(marker: bytes) -> bytes:
    """Return the first bytes of a segment."""
    return MAGIC + marker


def marker_of(read: Read) -> bytes | None:
    """Return the marker of a segment; None if it has no readable head of this version."""
    found = read(0, HEAD_BYTES)
    if len(found) < HEAD_BYTES or not found.startswith(MAGIC):
        return None
    return found[len(MAGIC) :]


def encode(marker: bytes, received_at: float, payload: bytes) -> bytes:
    """Return one frame. ``received_at``: unix seconds."""
    crc = _crc(marker, len(payload), received_at, payload)
    return _FRAME.pack(marker, len(payload), received_at, crc) + payload


def frame_bytes(payload: bytes) -> int:
    """Return what a payload takes on the disk."""
    return FRAME_HEAD_BYTES + len(payload)


def frame_at(read: Read, start: int, end: int, marker: bytes) -> Frame | None:
    """Return the frame that begins at ``start`` and ends by ``end``; None if there is no intact one."""
    opening = read(start, FRAME_HEAD_BYTES)
    if len(opening) < FRAME_HEAD_BYTES:
        return None
    found, length, received_at, crc = _FRAME.unpack(opening)
    body_start = start + FRAME_HEAD_BYTES
    # The bound comes first: a damaged length must not make us read gigabytes.
    if found != marker or length > end - body_start:
        return None
    payload = read(body_start, length)
    if len(payload) < length or crc != _crc(marker, length, received_at, payload):
        return None
    return Frame(start, body_start + length, received_at, payload)


def walk(read: Read, start: int, end: int, marker: bytes) -> Iterator[Frame | Damage]:
    """Yield everything between two offsets, frame by frame, without a gap.

    Behind damage, reading goes on at the next intact frame.
    """
    at = start
    while at < end:
        frame = frame_at(read, at, end, marker)
        if frame is not None:
            yield frame
            at = frame.end
            continue
        resumed = _next_frame(read, at + 1, end, marker)
        yield Damage(at, resumed)
        at = resumed


def count(read: Read, start: int, end: int, marker: bytes) -> tuple[int, float | None]:
    """Return how many frames there are and the smallest ``received_at``, by their heads alone.

    Stops at the first damage: for a display and a watermark, not for a decision.
    """
    frames, oldest, at = 0, None, start
    while at + FRAME_HEAD_BYTES <= end:
        opening = read(at, FRAME_HEAD_BYTES)
        if len(opening) < FRAME_HEAD_BYTES:
            break
        found, length, received_at, _ = _FRAME.unpack(opening)
        at += FRAME_HEAD_BYTES + length
        if found != marker or at > end:
            break
        frames += 1
        oldest = received_at if oldest is None else min(oldest, received_at)
    return frames, oldest


def encode_progress(marker: bytes, done: int) -> bytes:
    """Return the record that everything before the offset ``done`` of this segment has been handed on."""
    return _PROGRESS.pack(done, zlib.crc32(done.to_bytes(8, "big"), zlib.crc32(marker)))


def decode_progress(marker: bytes, record: bytes) -> int:
    """Return the offset of a progress record; that of the first frame if the record is torn or another's.

    Reading from the beginning repeats callbacks, which is absorbed downstream; skipping would lose them.
    """
    if len(record) == PROGRESS_BYTES:
        done, crc = _PROGRESS.unpack(record)
        if crc == zlib.crc32(done.to_bytes(8, "big"), zlib.crc32(marker)):
            return max(int(done), HEAD_BYTES)
    return HEAD_BYTES


def _next_frame(read: Read, start: int, end: int, marker: bytes) -> int:
    """Return the offset of the next intact frame from ``start`` on; ``end`` if there is none."""
    at = start
    while at < end:
        # Windows overlap by a marker less one byte: one may lie across their border.
        window = read(at, min(_SEARCH_BYTES, end - at))
        found = window.find(marker)
        while found >= 0:
            if frame_at(read, at + found, end, marker) is not None:
                return at + found
            found = window.find(marker, found + 1)
        if len(window) < MARKER_BYTES:
            return end
        at += len(window) - MARKER_BYTES + 1
    return end


def _crc(marker: bytes, length: int, received_at: float, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_FRAME.pack(marker, length, received_at, 0)))
