"""An entry of a queue, as it is stored: the fingerprint, which scripts read, then JSON. ``queue:<unit>``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from deedbox.shared.core import jsontext
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.fields import Unreadable, flag, guarded, natural, number, number_or_none, row

FORM: Final = "queue entry"

FINGERPRINT_CHARS: Final = 32
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_OPTIONAL: Final[Mapping[str, Callable[[object], Any]]] = {
    "late": flag, "failures": natural, "retries": natural, "backoffs": natural, "first_failed_at": number_or_none,
    "due_at": number_or_none, "replay": natural, "losses": natural,
}  # fmt: skip
"""What most entries leave out, and what reads it."""


def dump(entry: QueueEntry) -> str:
    """Return the entry's text; ``load`` is the inverse."""
    rest: dict[str, Any] = {"at": entry.enqueued_at}
    rest |= {name: value for name in _OPTIONAL if (value := getattr(entry, name))}
    return entry.fingerprint + jsontext.dumps(rest).decode()


def load(data: bytes | str) -> QueueEntry | Unreadable:
    """Rebuild the entry; Unreadable for any bytes that ``dump`` does not write."""
    decoded = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    fingerprint, rest = decoded[:FINGERPRINT_CHARS], decoded[FINGERPRINT_CHARS:]
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        return Unreadable(FORM, len(data))
    return guarded(FORM, rest, lambda document: _entry(fingerprint, document))


def _entry(fingerprint: str, document: Any) -> QueueEntry:
    found = row(document)
    optional = {name: _OPTIONAL[name](each) for name, each in found.items() if name in _OPTIONAL}
    return QueueEntry(fingerprint, number(found["at"]), **optional)
