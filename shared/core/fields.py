"""Reads JSON values of stored forms: each reader takes any value and returns one of its type, or raises TypeError.

Stored text may be damaged, written by hand or by a later version. A form that checks each of its values here is total:
``guarded`` turns whatever goes wrong into the value ``Unreadable``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from deedbox.shared.core import jsontext
from deedbox.shared.core.errors import Undecodable

T = TypeVar("T")

WHAT_DECODERS_RAISE: Final = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError, Undecodable,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored value that is none of its form. Its text is not kept: it may name people."""

    form: str
    """Name of the form, for a log line."""
    size_bytes: int = 0

    def __bool__(self) -> Literal[False]:
        return False


def guarded(form: str, data: bytes | str, read: Callable[[Any], T]) -> T | Unreadable:
    """Parse JSON text and read it; Unreadable for any text that is not of the form."""
    try:
        return read(jsontext.loads(data))
    except WHAT_DECODERS_RAISE:
        return Unreadable(form, len(data))


def words(value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError
    return value


def words_or_none(value: object) -> str | None:
    """Return a text, or None."""
    return None if value is None else words(value)


def whole(value: object) -> int:
    """Return an integer of 64 bits: what Redis and other languages can hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError
    return value


def natural(value: object) -> int:
    """Return an integer from 0."""
    found = whole(value)
    if found < 0:
        raise TypeError
    return found


def number(value: object) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def number_or_none(value: object) -> float | None:
    """Return a finite number, or None."""
    return None if value is None else number(value)


def flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def row(value: object) -> Mapping[str, Any]:
    """Return an object."""
    if not isinstance(value, dict):
        raise TypeError
    return value


def many(value: object, each: Callable[[object], T]) -> tuple[T, ...]:
    """Return a list, each of whose values is read."""
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(each, value))


def named(value: object, each: Callable[[object], T]) -> dict[str, T]:
    """Return an object, each of whose values is read."""
    return {name: each(found) for name, found in row(value).items()}


COUNT: Final = "count"
"""The form of counters: numbers as text, in ``counters``, ``calls``, ``sources`` and others."""

_LONGEST: Final = 20
"""Digits of 64 bits, and a sign: Redis counts no further."""


def count_of(data: bytes | None) -> int:
    """Read a counter; 0 for one that is not there or cannot be read, because the next increment starts again from there."""
    try:
        return int(data) if data and len(data) <= _LONGEST else 0
    except ValueError:
        return 0


def moment_of(data: bytes | None) -> float | None:
    """Read a time (unix seconds); None for one that is not there or cannot be read."""
    try:
        found = float(data or b"")
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def counts_of(rows: Mapping[bytes, bytes]) -> dict[str, int]:
    """Read a hash of counters."""
    return {name.decode("utf-8", "replace"): count_of(value) for name, value in rows.items()}
