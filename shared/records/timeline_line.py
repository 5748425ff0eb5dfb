"""Lines of a request's timeline, as they are stored: ``timeline:<stream>``.

An element of the list is what one commit told: some lines, compressed together. Before them is the generation of what was
subscribed when events were released, which the script knows. A line that a script wrote itself is JSON.

A line is an object as a rule. The two that each event has are rows: their kind, then the values of ``_COLUMNS``. Ids are numbers
there, and in binary before the lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import WHAT_DECODERS_RAISE, Unreadable, number, row, words
from deedbox.shared.core.ordering import Position
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.request_snapshot import TIME_MAX

FORM: Final = "timeline line"

Line = dict[str, Any]

Row = tuple[Any, ...]
"""A line as ``arrived`` and ``released`` make it: a list costs a third of an object."""

LINES_MAX: Final = 16
"""Lines of one element: what a list is cut to is counted in elements."""

LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Of an element, unpacked."""

_PACKED: Final = b":"
_JSON: Final = b"["
_RELEASED: Final = {TimelineKind.RELEASED.value, TimelineKind.LATE.value}
_OF_RELEASED: Final = ("at", "type", "event", "time", "rank", "signature", "waited_s")
_COLUMNS: Final = {
    TimelineKind.ARRIVED.value: (
        "at", "type", "event", "event_time", "received_at", "body_signature", "trust", "trace_id",
    ),
    **dict.fromkeys(_RELEASED, _OF_RELEASED),
}  # fmt: skip
_IDS: Final = ("event", "trace_id", "body", "sha256", "signature")
_IDS_AT: Final = {
    kind: [1 + columns.index(name) for name in _IDS if name in columns] for kind, columns in _COLUMNS.items()
}


def arrived(at: float, event_type: str, event: str, *details: object) -> Row:
    """Return the line of a callback that arrived. ``details``: the other columns, in their order."""
    return (TimelineKind.ARRIVED.value, at, event_type, event, *details)


def released(at: float, event_type: str, position: Position, waited_s: float, *, late: bool) -> Row:
    """Return the line of an event that was released."""
    kind = TimelineKind.LATE if late else TimelineKind.RELEASED
    time, rank, signature, event = position
    return (kind.value, at, event_type, event, time, rank, signature, waited_s)


def dump(lines: Sequence[Mapping[str, Any] | Row]) -> list[bytes]:
    """Return the elements that hold some lines; ``load`` is the inverse."""
    return [_PACKED + _packed(lines[start : start + LINES_MAX]) for start in range(0, len(lines), LINES_MAX)]


def load(data: bytes) -> list[Line] | Unreadable:
    """Rebuild the lines: when (unix seconds), of which kind, and details that a page shows as they are."""
    try:
        if data.startswith(b"{"):
            return [_line(jsontext.loads(data), b"")]
        generation, _, packed = data.partition(_PACKED)
        found = [_line(each, generation) for each in _unpacked(packed)]
    except WHAT_DECODERS_RAISE:
        return Unreadable(FORM, len(data))
    return found or Unreadable(FORM, len(data))


def plain(element: bytes) -> bytes:
    """Return an element whose lines are JSON, as archives have them: what they repeat is compressed better there."""
    generation, mark, packed = element.partition(_PACKED)
    if not mark or (generation and not generation.isdigit()) or packed.startswith(_JSON):
        return element
    try:
        return generation + _PACKED + jsontext.dumps(_unpacked(packed))
    except WHAT_DECODERS_RAISE:
        return element


def packed(element: bytes) -> bytes:
    """Inverse of ``plain``."""
    generation, mark, text = element.partition(_PACKED)
    if not text.startswith(_JSON):
        return element
    try:
        return generation + mark + _packed(jsontext.loads(text))
    except WHAT_DECODERS_RAISE:
        return element


def _packed(lines: Sequence[Mapping[str, Any] | Sequence[Any]]) -> bytes:
    ids = codec.IdTable()
    rows: list[Any] = []
    for line in lines:
        if isinstance(line, Mapping):
            named = dict(line)
            for name in _IDS:
                if name in named:
                    named[name] = ids.number(named[name])
            rows.append(named)
            continue
        numbered = list(line)
        for place in _IDS_AT[line[0]]:
            numbered[place] = ids.number(numbered[place])
        rows.append(numbered)
    return codec.joined(ids.binary, jsontext.dumps(rows))


def _unpacked(packed: bytes) -> list[Any]:
    """Return lines with their ids as text."""
    if packed.startswith(_JSON):
        return list(jsontext.loads(packed))
    ids, text = codec.parted(packed, LIMIT_BYTES)
    rows = list(jsontext.loads(text))
    for line in rows:
        for place in _IDS_AT[line[0]] if isinstance(line, list) else [name for name in _IDS if name in line]:
            if isinstance(number := line[place], int):
                line[place] = ids[number]
    return rows


def _line(document: Any, generation: bytes) -> Line:
    found = _named(*document) if isinstance(document, list) else dict(row(document))
    words(found["kind"])
    if not 0 <= number(found["at"]) <= TIME_MAX:
        raise ValueError
    if generation and found["kind"] in _RELEASED:
        found["generation"] = int(generation)
    return found


def _named(kind: str, *values: Any) -> Line:
    named = dict(zip(_COLUMNS[kind], values, strict=True))
    found = {"at": named.pop("at"), "kind": kind, "type": named.pop("type"), "event": named.pop("event")}
    if kind in _RELEASED:
        found["position"] = [*(named.pop(each) for each in ("time", "rank", "signature")), found["event"]]
    return found | named
