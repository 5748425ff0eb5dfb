"""How bodies are kept small in broker, inbox and store: zstd with a dictionary of what callbacks have in common.

A callback of 3 KB becomes 300 to 660 bytes, for about 5 us. The dictionary has a number, which is part of the codec's
name; a body says which one it needs, and every dictionary stays in this package. A body that does not become smaller
is stored as it came, without a codec.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib.resources import files
from typing import Final

import zstandard

from deedbox.shared.broker.message import BODY_LIMIT_BYTES
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.sealing import envelopes

CODEC: Final = "zstd-1"
"""What this version writes."""

LEVEL: Final = 3
"""Level 6 takes four times as long for 5 % less."""

SMALLEST_BYTES: Final = 64
"""Shorter bodies are left alone."""

_DICTIONARIES: Final = {"zstd-1": "callbacks-1.zstd-dict"}
_loaded: Final[dict[str, zstandard.ZstdCompressionDict]] = {}
_tools: Final = threading.local()  # zstandard's objects are for one thread at a time


def encode(body: bytes) -> tuple[str, bytes]:
    """Return codec and data; the codec is '' where compression does not help."""
    if len(body) < SMALLEST_BYTES:
        return "", body
    compressor = getattr(_tools, "compressor", None)
    if compressor is None:
        compressor = _tools.compressor = zstandard.ZstdCompressor(
            level=LEVEL, dict_data=_dictionary(CODEC), write_dict_id=False, write_checksum=True
        )
    data: bytes = compressor.compress(body)
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


def _decompressor(codec: str) -> zstandard.ZstdDecompressor:
    found: dict[str, zstandard.ZstdDecompressor] | None = getattr(_tools, "decompressors", None)
    if found is None:
        found = _tools.decompressors = {}
    if codec not in found:
        found[codec] = zstandard.ZstdDecompressor(dict_data=_dictionary(codec))
    return found[codec]


def _dictionary(codec: str) -> zstandard.ZstdCompressionDict:
    if codec not in _loaded:
        data = (files("deedbox.shared") / "dictionaries" / _DICTIONARIES[codec]).read_bytes()
        dictionary = zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_FULLDICT)
        if codec == CODEC:
            dictionary.precompute_compress(level=LEVEL)
        _loaded[codec] = dictionary
    return _loaded[codec]
