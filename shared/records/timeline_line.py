"""A line of a request's timeline, as it is stored: ``timeline:<stream>``."""

from __future__ import annotations

from typing import Any, Final

from deedbox.shared.core.fields import Unreadable, guarded, number, row, words
from deedbox.shared.core.request_snapshot import TIME_MAX

FORM: Final = "timeline line"

Line = dict[str, Any]


def load(data: bytes) -> Line | Unreadable:
    """Rebuild a line: when (unix seconds), of which kind, and details that a page shows as they are."""
    return guarded(FORM, data, _line)


def _line(document: Any) -> Line:
    found = dict(row(document))
    words(found["kind"])
    if not 0 <= number(found["at"]) <= TIME_MAX:
        raise ValueError
    return found
