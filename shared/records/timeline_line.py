"""Lines of a request's timeline, as they are stored: ``timeline:<stream>``.

An element of the list is what one commit told: some lines, compressed together. Before them is the generation of what was
subscribed when events were released, which the script knows. A line that a script wrote itself is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deedbox.shared import codec
from deedbox.shared.core import jsontext
from deedbox.shared.core.errors import Undecodable
from deedbox.shared.core.fields import WHAT_DECODERS_RAISE, Unreadable, number, row, words
from deedbox.shared.core.reasons import TimelineKind
from deedbox.shared.core.request_snapshot import TIME_MAX

FORM: Final = "timeline line"

Line = dict[str, Any]

LINES_MAX: Final = 8
"""Lines of one element: what a list is cut to is counted in elements."""

LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Of an element, unpacked."""

_PACKED: Final = b":"
_IDS: Final = ("event", "trace_id", "body", "sha256")
_RELEASED: Final = {TimelineKind.RELEASED.value, TimelineKind.LATE.value}


def dump(lines: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the elements that hold some lines; ``load`` is the inverse."""
    return [_element(lines[start : start + LINES_MAX]) for start in range(0, len(lines), LINES_MAX)]


def load(data: bytes) -> list[Line] | Unreadable:
    """Rebuild the lines: when (unix seconds), of which kind, and details that a page shows as they are."""
    try:
        return [_line(each) for each in _rows(data)]
    except WHAT_DECODERS_RAISE:
        return Unreadable(FORM, len(data))


def plain(element: bytes) -> bytes:
    """Return an element whose lines are JSON, as archives have them: what they repeat is compressed better there."""
    generation, mark, packed = element.partition(_PACKED)
    if not mark or (generation and not generation.isdigit()):
        return element
    try:
        return generation + _PACKED + codec.text_of(packed, LIMIT_BYTES)
    except Undecodable:
        return element


def packed(element: bytes) -> bytes:
    """Inverse of ``plain``."""
    generation, mark, text = element.partition(_PACKED)
    return generation + mark + codec.pack(text) if text.startswith(b"[") else element


def _element(lines: Sequence[Mapping[str, Any]]) -> bytes:
    ids = [line.get(name) for line in lines for name in _IDS]
    for line in lines:
        if isinstance(position := line.get("position"), list):
            ids += position
    return _PACKED + codec.pack(jsontext.dumps(lines), ids=ids)


def _rows(data: bytes) -> list[Any]:
    if data.startswith(b"{"):
        return [jsontext.loads(data)]
    generation, _, packed = data.partition(_PACKED)
    found = list(jsontext.loads(codec.text_of(packed, LIMIT_BYTES)))
    if not found:
        raise ValueError
    if generation:
        for each in found:
            if each["kind"] in _RELEASED:
                each["generation"] = int(generation)
    return found


def _line(document: Any) -> Line:
    found = dict(row(document))
    words(found["kind"])
    if not 0 <= number(found["at"]) <= TIME_MAX:
        raise ValueError
    return found
