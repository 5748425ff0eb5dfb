"""How long calls of actions take: the histogram's buckets, which workers fill and ops shows."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

CALL_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds: from an action that only notes something to the longest that anybody gives a timeout."""


def bucket_of(took_s: float) -> int:
    """Return the number of the bucket; ``len(CALL_BOUNDS_S)`` for what took longer than all bounds."""
    return bisect_left(CALL_BOUNDS_S, took_s)
