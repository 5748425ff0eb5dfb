"""The callback on the wire: from the JSON text to an ``Event``.

Facts: docs/protocol.md, section 2. ``event`` is the only required top-level key; types are an open
set; ``event_metadata`` may be missing; ``event_time`` is a string, but an official SDK models an integer, so
both are accepted and the received text goes into the hash.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import orjson

from deedbox.shared.core.errors import BadCallback
from deedbox.shared.core.values import value

EVENT_TIME_MAX: Final = 2**53
"""Largest ``event_time`` (seconds): beyond it, readers of JSON in other languages lose digits."""

TYPE_MAX_CHARS: Final = 128
"""Longest event type: the longest published one has 34 characters; it becomes part of keys and labels."""

DEPTH_MAX: Final = 100
"""Deepest nesting that is taken: genuine callbacks have six levels, and every reader behind (another language, a
database column, Python's own writer) has its own bound somewhere above."""

CONTAINERS_FREE: Final = 10_000
CONTAINER_BYTES: Final = 64
"""A text may hold so many objects and lists, or one per so many bytes. Genuine ones have hundreds of bytes each; ten
MiB of empty lists would become 220 MiB of objects, and seconds of garbage collection, before any key is asked for."""

VALUES_FREE: Final = 100_000
VALUE_BYTES: Final = 8
"""The same for values, counted by their commas: a text of nothing but short strings grows thirteenfold."""

LEVELS_MAX: Final = 800
"""Brackets of a text that cannot be nested too deeply, whatever their order."""

REMOVED: Final = b"(removed)"
_HASH_IN_TEXT: Final = re.compile(rb'"event_hash"\s*:\s*"[^"]*"')
_GENUINE_HASH: Final = re.compile(rb'("event_hash"\s*:\s*")[0-9a-f]{64}(?=")')

_TIME_TEXT: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_TYPE_TEXT: Final = re.compile(r"[A-Za-z0-9_.\-]+", re.ASCII)


@value
class ParsedCallback:
    """A parsed callback: the claim of the sender, verified or not."""

    event_type: str
    event_time: int
    """Unix seconds, 0..2**53."""
    event_time_text: str
    """The received text, which is what ``event_hash`` signs."""
    event_hash: str
    related_signature_id: str | None
    payload: Mapping[str, Any]


def _no_constant(name: str) -> NoReturn:
    raise BadCallback(f"the json text is not JSON: {name} is no JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999: no other reader would agree on what it means
        raise BadCallback("the json text holds a number that is too large")
    return number


def parse_json(text: bytes) -> dict[str, Any]:
    """Parse the ``json`` text strictly: UTF-8, no NaN or Infinity, an object at the top.

    Raises BadCallback with a one-line detail; the detail never quotes the text.
    """
    if text.startswith(BOM_UTF8):
        raise BadCallback("the json text begins with a byte order mark (BOM); send it without one")
    containers = _containers_at_most(text)
    if _is_too_dense(text, containers):
        raise BadCallback("the json text holds more values than a callback of its length")
    # The fast parser takes more levels than what writes JSON later on can write: what may be that deep goes the slow
    # way, whose limit is the same in both directions.
    if containers > LEVELS_MAX:
        document = _parse_slowly(text)
    else:
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            document = _parse_slowly(text)
    if not isinstance(document, dict):
        raise BadCallback("the json text is not a JSON object")
    return document


def _parse_slowly(text: bytes) -> Any:
    """Parse what the fast parser refuses: half characters, very long numbers. Raises BadCallback that says where."""
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise BadCallback(f"the json text is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BadCallback(f"the json text is not JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise BadCallback("the json text is nested too deeply") from None
    except ValueError:  # an integer of more digits than Python converts
        raise BadCallback("the json text holds a number that is too long") from None


def _containers_at_most(text: bytes) -> int:
    """Bound the objects and arrays of a text, and with them its depth: strings may hold brackets too."""
    return text.count(b"{") + text.count(b"[")


def _is_too_dense(text: bytes, containers: int) -> bool:
    """Return whether a text would grow out of proportion when it is parsed."""
    if len(text) <= CONTAINERS_FREE:  # as good as every genuine one: it cannot hold so many
        return False
    values = text.count(b",")
    return containers > max(CONTAINERS_FREE, len(text) // CONTAINER_BYTES) or values > max(
        VALUES_FREE, len(text) // VALUE_BYTES
    )


def parse_callback(text: bytes) -> ParsedCallback:
    """Parse the ``json`` text of a callback, leniently except for what identity and verification need.

    Raises BadCallback that names the field.
    """
    payload = parse_json(text)
    event = payload.get("event")
    if event is None:
        raise BadCallback("the field event is missing", "event")
    if not isinstance(event, dict):
        raise BadCallback("the field event is not an object", "event")
    event_type = _text(event, "event_type")
    if len(event_type) > TYPE_MAX_CHARS or _TYPE_TEXT.fullmatch(event_type) is None:
        raise BadCallback(
            f"the field event.event_type is not 1 to {TYPE_MAX_CHARS} letters, digits, _, - or .",
            "event.event_type",
        )
    time_text = _time_text(event)
    return ParsedCallback(
        event_type=event_type,
        event_time=int(time_text),
        event_time_text=time_text,
        event_hash=_text(event, "event_hash"),
        related_signature_id=_related_signature_id(event),
        payload=payload,
    )


def is_too_deep(text: bytes, payload: Mapping[str, Any]) -> bool:
    """Return whether a parsed text is nested more deeply than ``DEPTH_MAX``.

    Few texts have so many brackets; of those that do, every container is visited once.
    """
    if _containers_at_most(text) <= DEPTH_MAX:
        return False
    level: list[Any] = [payload]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def outward(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload as it may leave Deedbox: without ``event_hash``: who knows it can send callbacks."""
    event = payload.get("event")
    if not isinstance(event, dict) or "event_hash" not in event:
        return dict(payload)
    return {**payload, "event": {name: value for name, value in event.items() if name != "event_hash"}}


def outward_text(text: bytes) -> bytes:
    """Return the same of a callback's text, which need not be JSON."""
    shown = _HASH_IN_TEXT.sub(b'"event_hash":"' + REMOVED + b'"', text)
    try:
        payload = json.loads(shown)
    except (ValueError, RecursionError):
        return shown
    event = payload.get("event") if isinstance(payload, dict) else None
    # The name can be spelled with escapes.
    if isinstance(event, dict) and event.get("event_hash", REMOVED.decode()) != REMOVED.decode():
        return json.dumps(outward(payload)).encode()
    return shown


def without_hash(text: bytes) -> bytes:
    """Return the same of a verified callback's text, which stays JSON. Where it is not clear which hash is the event's, all stay."""
    found, hashes = _GENUINE_HASH.subn(rb"\g<1>" + REMOVED, text)
    return found if hashes == 1 else text


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if value is None:
        raise BadCallback(f"the field event.{name} is missing", f"event.{name}")
    if not isinstance(value, str) or not value:
        raise BadCallback(f"the field event.{name} is not a non-empty string", f"event.{name}")
    return value


def _time_text(event: Mapping[str, Any]) -> str:
    value = event.get("event_time")
    if value is None:
        raise BadCallback("the field event.event_time is missing", "event.event_time")
    # bool is an int in Python; `true` is no time.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or _TIME_TEXT.fullmatch(text) is None or int(text) > EVENT_TIME_MAX:
        raise BadCallback("the field event.event_time is not unix seconds from 0 to 2^53", "event.event_time")
    return text


def _related_signature_id(event: Mapping[str, Any]) -> str | None:
    metadata = event.get("event_metadata")
    if not isinstance(metadata, dict):
        return None
    value = metadata.get("related_signature_id")
    return value if isinstance(value, str) and value else None
