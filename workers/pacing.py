"""Lets work gather where it keeps coming in bits.

A stage that takes whatever is there takes one or two callbacks at a time at a thousand per second, and pays its round
trips and fsyncs for each: the busier the machine, the dearer a callback. So a stage that found work several times in a
row, and little each time, pauses for a moment before it looks again. One that finds nothing is woken at once when
something comes, and one with a backlog has enough: neither ever pauses.
"""

from __future__ import annotations

import time
from typing import Final

PAUSE_S: Final = 0.005
"""What a stage adds to the way of a callback while it pauses."""

IN_A_ROW: Final = 4
"""Finds before the first pause. At 50 callbacks per second more than two in a row are rare."""

ENOUGH: Final = 32
"""A find of so many costs little per callback as it is."""


class Gathering:
    """One stage's finds in a row."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def found(self, count: int, asked_for: int) -> bool:
        """Note what a look found, and how much it could have. Returns whether to pause before the next look."""
        self._in_a_row = self._in_a_row + 1 if 0 < count < min(ENOUGH, asked_for) else 0
        return self._in_a_row >= IN_A_ROW

    def pause(self) -> None:
        """Let work gather."""
        time.sleep(PAUSE_S)
