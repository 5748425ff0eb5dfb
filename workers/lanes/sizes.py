"""How many entries a runner claims at once: many of fast calls, one of slow ones."""

from __future__ import annotations

from typing import Final

BATCH_MAX: Final = 256

FAST_CALL_S: Final = 0.001
"""Calls that take no longer than this on average are claimed in growing batches, others one by one."""


def next_size(size: int, calls: int, spent_s: float) -> int:
    """Return how many entries to claim next: twice as many while calls are fast and batches full; one if they are slow."""
    if calls and spent_s / calls > FAST_CALL_S:
        return 1
    if calls >= size:
        return min(BATCH_MAX, size * 2)
    return size if calls > size // 2 else max(1, size // 2)
