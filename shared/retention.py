"""How long things are kept: what a request leaves behind in Redis ends by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400

DEFAULT_DAYS: Final = 14
"""Twice the promise about dedupe memory; a request costs some kilobytes for that long."""

SHORTEST_DAYS: Final = 7
"""The promise: a repeat within 7 days is recognised. The vendor retries for 30 h or 3 days (its pages disagree),
and an action may ask to be called later for 3 days."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Lives in seconds, counted from the last touch. A changed setting reaches an existing key at its next touch."""

    state_s: int = DEFAULT_DAYS * DAY_S
    """Of a stream's order state, dedupe memory, timeline, read model and document record, and of a tombstone."""
    events_s: int = DEFAULT_DAYS * DAY_S
    """Of a stored callback, from its last outcome: what waits for it keeps it. At most ``state_s``: the dedupe memory is
    how erasure finds the bodies of a stream that nothing waits for."""
