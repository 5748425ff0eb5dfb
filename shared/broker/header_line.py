"""An envelope's headers in one line: what a broker message in Redis carries, because what waits there is in memory."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.identity import is_shard, shard_of
from deedbox.shared.core.signature import BodySignature

SCHEMA_VERSION: Final = 1
TRACE_ID_CHARS: Final = 32

_LINE: Final = frozenset({"deedbox", "source", "received_at", "body_signature", "trace_id"})
_LINE_OPTIONAL: Final = ("codec", "redrive", "span_id")
_LINE_ALL: Final = _LINE | {"key", "shard", *_LINE_OPTIONAL}
_NOTHING: Final = "-"
_SIGNATURES: Final[Mapping[str, str]] = {each.value: each.value[0] for each in BodySignature}
_SIGNATURE_OF: Final[Mapping[str, str]] = {short: name for name, short in _SIGNATURES.items()}
_SPACES: Final = 5
_WORD: Final = r"[A-Za-z0-9_.:-]+"
_FORM: Final = re.compile(
    rf"{SCHEMA_VERSION} {_WORD} [0-9.e+-]+ [vwa] [A-Za-z0-9+/]{{22}} (-|[0-9]+)( {_WORD}){{0,3}}", re.ASCII
)


def write(headers: Mapping[str, Any]) -> bytes | None:
    """Return an envelope's headers in one line; None for what does not fit into it.

    Schema version, source, received_at, first letter of body_signature, trace id (base64), shard, and if they are
    not empty codec, redrive and span id; ``-`` stands for nothing.
    """
    if headers.get("deedbox") != SCHEMA_VERSION or not _LINE <= headers.keys() <= _LINE_ALL:
        return None
    source, at, trace_id = headers["source"], headers["received_at"], headers["trace_id"]
    signature, key, shard = headers["body_signature"], headers.get("key"), headers.get("shard")
    words = [headers.get(name, "") for name in _LINE_OPTIONAL]
    if type(at) is not float or not all(type(text) is str for text in (source, trace_id, *words)):
        return None
    if key is not None:
        shard = shard_of(f"{source}:{key}")
    elif shard is None:
        shard = _NOTHING
    elif not is_shard(shard):
        return None
    while words and not words[-1]:
        words.pop()
    if _NOTHING in words or len(trace_id) != TRACE_ID_CHARS or signature not in _SIGNATURES:
        return None
    try:
        raw = bytes.fromhex(trace_id)
    except ValueError:
        return None
    trace = binascii.b2a_base64(raw, newline=False)[:22].decode()
    line = f"{SCHEMA_VERSION} {source} {at} {_SIGNATURES[signature]} {trace} {shard}"
    for word in words:
        line += f" {word or _NOTHING}"
    # What has a space in it, or what JSON escapes, does not fit; nor does a trace id that would come back otherwise.
    whole = line.count(" ") == _SPACES + len(words) and raw.hex() == trace_id
    return line.encode() if whole and _FORM.fullmatch(line) else None


def read(line: str) -> dict[str, Any]:
    """Inverse of ``write``. Raises Undecodable."""
    try:
        version, source, at, signature, trace, shard, *optional = line.split(" ")
        if version != str(SCHEMA_VERSION):
            raise Undecodable(f"schema version {version[:20]} is not {SCHEMA_VERSION}")
        headers: dict[str, Any] = {
            "deedbox": SCHEMA_VERSION,
            "source": source,
            "received_at": float(at),
            "body_signature": _SIGNATURE_OF[signature],
            "trace_id": binascii.a2b_base64(trace + "==", strict_mode=True).hex(),
        }
        if len(headers["trace_id"]) != TRACE_ID_CHARS:
            raise Undecodable("ill-formed headers (a trace id of another length)")
        named = zip(_LINE_OPTIONAL, optional, strict=False)
        headers.update((name, word) for name, word in named if word != _NOTHING)
        if shard != _NOTHING:
            headers["shard"] = int(shard)
    except (ValueError, KeyError) as error:
        raise Undecodable(f"ill-formed headers ({type(error).__name__})") from None
    return headers
