"""Counters, as they are stored: numbers as text, in ``counters``, ``calls``, ``sources`` and others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

FORM: Final = "count"

_LONGEST: Final = 20
"""Digits of 64 bits, and a sign: Redis counts no further."""


def count_of(data: bytes | None) -> int:
    """Read a counter; 0 for one that is not there or cannot be read, because the next increment begins anew."""
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
