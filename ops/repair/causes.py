"""What dead letters have in common: reason, action and kind of error. Letters of one cause are usually decided together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a Selection selects by it
    from deedbox.ops.repair.deadletters import DeadLetter

ERROR_CHARS: Final = 80

_EXCEPTION: Final = re.compile(r"([A-Za-z_][\w.]{0,79})(?=:|$)", re.ASCII)
_VARIES: Final = re.compile(r"\S*@\S*|\b[0-9a-f]{8,}\b|\d+", re.ASCII)
"""What differs between two errors of one kind: addresses, ids, numbers."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why letters were set aside, and in which action."""

    reason: str
    action: str
    error: str


def error_kind(detail: str) -> str:
    """Return the kind of an error: the exception's name, or the text with a * for each number, id and address."""
    line = detail.strip().partition("\n")[0]
    found = _EXCEPTION.match(line)
    return found[1] if found else _VARIES.sub("*", line[: 2 * ERROR_CHARS])[:ERROR_CHARS].strip()


def causes(letters: Iterable[DeadLetter]) -> list[tuple[Cause, int]]:
    """Count letters by cause, the most frequent first."""
    return Counter(Cause(each.reason, each.action, each.error) for each in letters).most_common()
