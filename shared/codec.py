"""How bodies are kept small in broker, inbox and store: zstd with a dictionary of what callbacks have in common.

A callback of 3 KB becomes 300 to 660 bytes, for about 5 us. The dictionary has a number, which is part of the codec's
name; a body says which one it needs, and every dictionary stays in this package. A body that does not become smaller
is stored as it came, without a codec.

Deedbox's own records (facts, timelines, archives, entries of the clean stream) have a separate dictionary.
``python -m tests.bench.dictionary`` trains both.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

import zstandard

from deedbox.shared.broker.message import BODY_LIMIT_BYTES
from deedbox.shared.core import jsontext
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.sealing import envelopes

CODEC: Final = "zstd-1"
"""What this version writes."""

LEVEL: Final = 3
"""Level 6 takes four times as long for 5 % less."""

SMALLEST_BYTES: Final = 64
"""Shorter bodies are left alone."""

RECORDS: Final = "records-1"
"""What this version writes for Deedbox's own records."""

ARCHIVE_LEVEL: Final = 9
"""Archives are written once, by the sweeper: 8 % less than level 3, for 20 us more per event."""

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""Begins every frame of zstd, and is left out."""

_ID: Final = re.compile(rb'(["/|: ])((?:[0-9a-f]{8}){4,8})|\xff')
_BEGINS: Final = b"\xff"
"""Begins a reference: no text in UTF-8 has such a byte."""

_REFERENCE: Final = re.compile(rb"\xff(..)", re.DOTALL)
_JSON: Final = (b"{", b"[")
_IDS_MAX: Final = 0x4FFF
"""A packed record begins with their number, and never as JSON does."""
_LITERAL: Final = b"\xff\xff\xff"
"""Instead of the byte itself."""

_ID_CHARS: Final = frozenset((32, 40, 64))
_KNOWN_MAX: Final = 48
"""Ids of which a record says that it has them. A number above 48 would look like a digit, and could begin an id."""

_REFERENCES: Final = tuple(_BEGINS + number.to_bytes(2, "little") for number in range(_KNOWN_MAX))

_SIZES: Final = tuple(bytes((size,)) for size in range(256))

_DICTIONARIES: Final = {"zstd-1": "callbacks-1.zstd-dict", "records-1": "records-1.zstd-dict"}
_loaded: Final[dict[tuple[str, int], zstandard.ZstdCompressionDict]] = {}
_tools: Final = threading.local()  # zstandard's objects are for one thread at a time


def encode(body: bytes) -> tuple[str, bytes]:
    """Return codec and data; the codec is '' where compression does not help."""
    if len(body) < SMALLEST_BYTES:
        return "", body
    data = _compressor(CODEC, LEVEL).compress(body)
    return (CODEC, data) if len(data) < len(body) else ("", body)


def packed(envelope: Envelope) -> Envelope:
    """Return an envelope whose body is compressed, if that makes it smaller."""
    if envelope.codec:
        return envelope
    codec, data = encode(envelope.body)
    return replace(envelope, codec=codec, body=data) if codec else envelope


def body_of(envelope: Envelope) -> bytes:
    """Return the received bytes of the ``json`` text. Raises KeyMissing, Undecodable."""
    plain = envelopes.opened(envelope)
    return decode(plain.codec, plain.body)


def decode(codec: str, data: bytes) -> bytes:
    """Inverse of ``encode``. Raises Undecodable for an unknown codec, damage, or more than ``BODY_LIMIT_BYTES``."""
    if not codec:
        return data
    if codec not in _DICTIONARIES:
        raise Undecodable("a body of a codec that this version does not know")
    try:
        # What the frame says of itself is not covered by its checksum. The size is looked at first, because it is what we
        # would have to allocate.
        frame = zstandard.get_frame_parameters(data)
        if not frame.has_checksum or frame.content_size < SMALLEST_BYTES:
            raise Undecodable("a compressed body that is damaged")
        if frame.content_size > BODY_LIMIT_BYTES:
            raise Undecodable("a compressed body that is too large")
        return _decompressor(codec).decompress(data, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Undecodable("a compressed body that is damaged") from None


def pack(record: bytes, level: int = LEVEL, ids: Iterable[object] | None = None) -> bytes:
    """Compress a record of Deedbox's own.

    Ids and digests are random: each is written once, in binary, before the text that names it. ``ids``: those that the record
    may name; None: they are looked for behind the marks between which records have them, which takes longer.
    """
    table, text = split_ids(record) if ids is None else _without(ids, record)
    return joined(table, text, level)


def unpack(data: bytes, limit_bytes: int) -> bytes:
    """Inverse of ``pack``. Raises Undecodable for damage, or more than ``limit_bytes``."""
    table, text = parted(data, len(_LITERAL) * limit_bytes)
    ids = [each.encode() for each in table]
    try:
        record = _REFERENCE.sub(lambda found: _referred(ids, found), text)
    except IndexError:
        raise Undecodable("a compressed record that is damaged") from None
    if len(record) > limit_bytes:
        raise Undecodable("a compressed record that is too large")
    return record


class IdTable:
    """The ids of a record, each of which has a number in its text."""

    def __init__(self) -> None:
        self.binary: list[bytes] = []
        """What ``joined`` writes before the text."""
        self._numbers: dict[object, int] = {}

    def number(self, text: object) -> object:
        """Return the number of an id; what is no id stays as it is."""
        found = self._numbers.get(text)
        if found is None:
            binary = _binary(text)
            if binary is None:
                return text
            found = self._numbers[text] = len(self.binary)
            self.binary.append(binary)
        return found


def pack_row(values: Iterable[object], ids_at: Iterable[int]) -> bytes:
    """Compress a list. ``ids_at``: places of what is an id as a rule; each is its number there, and in binary before the list."""
    row, ids = list(values), IdTable()
    for place in ids_at:
        row[place] = ids.number(row[place])
    return joined(ids.binary, jsontext.dumps(row))


def unpack_row(data: bytes, limit_bytes: int, ids_at: Iterable[int]) -> list[Any]:
    """Inverse of ``pack_row``. Raises what ``WHAT_DECODERS_RAISE`` names."""
    ids, text = parted(data, limit_bytes)
    row: list[Any] = jsontext.loads(text)
    for place in ids_at:
        if isinstance(number := row[place], int):
            row[place] = ids[number]
    return row


def joined(table: Sequence[bytes], text: bytes, level: int = LEVEL) -> bytes:
    """Return a record whose text refers to the ids of a table: those in binary, then the text, compressed."""
    frame = _compressor(RECORDS, level).compress(text)
    head = b"".join([_SIZES[len(each)] + each for each in table])
    return len(table).to_bytes(2, "big") + head + frame[len(_MAGIC) :]


def parted(data: bytes, limit_bytes: int) -> tuple[list[str], bytes]:
    """Inverse of ``joined``; ids in hexadecimal. Raises Undecodable for damage, or a text of more than ``limit_bytes``."""
    ids, at = [], 2
    try:
        for _ in range(int.from_bytes(data[:2], "big")):
            end = at + 1 + data[at]
            ids.append(data[at + 1 : end].hex())
            at = end
        frame = _MAGIC + data[at:]
        parameters = zstandard.get_frame_parameters(frame)
        if not parameters.has_checksum or parameters.content_size > limit_bytes:
            raise Undecodable("a compressed record that is damaged")
        return ids, _decompressor(RECORDS).decompress(
            frame, max_output_size=limit_bytes, allow_extra_data=False
        )
    except (zstandard.ZstdError, IndexError):
        raise Undecodable("a compressed record that is damaged") from None


def text_of(data: bytes, limit_bytes: int) -> bytes:
    """Return a record of JSON, packed or not: an archive has it as text. Raises Undecodable."""
    return data if data[:1] in _JSON else unpack(data, limit_bytes)


def split_ids(record: bytes) -> tuple[list[bytes], bytes]:
    """Return the ids of a record, and its text with a reference for each."""
    ids: dict[bytes, int] = {}

    def referred(found: re.Match[bytes]) -> bytes:
        if found[2] is None:
            return _LITERAL
        number = ids.setdefault(found[2], len(ids)) if len(ids) < _IDS_MAX else ids.get(found[2])
        return found[0] if number is None else found[1] + _BEGINS + number.to_bytes(2, "little")

    text = _ID.sub(referred, record)
    return [bytes.fromhex(each.decode()) for each in ids], text


def _without(ids: Iterable[object], record: bytes) -> tuple[list[bytes], bytes]:
    """Return the same as ``split_ids`` for ids that are known."""
    table: dict[str, bytes] = {}
    text = record.replace(_BEGINS, _LITERAL) if _BEGINS in record else record
    for each in ids:
        if not isinstance(each, str) or each in table or len(table) == _KNOWN_MAX:
            continue
        found = _binary(each)
        if found is None:
            continue
        without = text.replace(each.encode(), _REFERENCES[len(table)])
        if len(without) != len(text):
            text = without
            table[each] = found
    return list(table.values()), text


def _binary(text: object) -> bytes | None:
    """Return an id in binary; None for what is no id, or not written as ``hex`` writes it."""
    if not isinstance(text, str) or len(text) not in _ID_CHARS:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if found.hex() == text else None


def _referred(ids: Sequence[bytes], found: re.Match[bytes]) -> bytes:
    return _BEGINS if found[0] == _LITERAL else ids[int.from_bytes(found[1], "little")]


def _compressor(codec: str, level: int) -> zstandard.ZstdCompressor:
    found: dict[tuple[str, int], zstandard.ZstdCompressor] | None = getattr(_tools, "compressors", None)
    if found is None:
        found = _tools.compressors = {}
    if (codec, level) not in found:
        found[codec, level] = zstandard.ZstdCompressor(
            level=level, dict_data=_dictionary(codec, level), write_dict_id=False, write_checksum=True
        )
    return found[codec, level]


def _decompressor(codec: str) -> zstandard.ZstdDecompressor:
    found: dict[str, zstandard.ZstdDecompressor] | None = getattr(_tools, "decompressors", None)
    if found is None:
        found = _tools.decompressors = {}
    if codec not in found:
        found[codec] = zstandard.ZstdDecompressor(dict_data=_dictionary(codec))
    return found[codec]


def _dictionary(codec: str, level: int = 0) -> zstandard.ZstdCompressionDict:
    """Return a dictionary, prepared for compression of a level (0: for decompression)."""
    if (codec, level) not in _loaded:
        data = (files("deedbox.shared") / "dictionaries" / _DICTIONARIES[codec]).read_bytes()
        dictionary = zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_FULLDICT)
        if level:
            dictionary.precompute_compress(level=level)
        _loaded[codec, level] = dictionary
    return _loaded[codec, level]
