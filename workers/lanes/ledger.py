"""What a worker has claimed and how much of it has begun, in memory that the process beside it reads too.

There is no lock, because a worker may stop at any moment: an entry is marked as begun first, and then the clock is asked
whether it may still begin. Who looks later than that sees every entry of the batch that ever begins.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

SLACK_S: Final = 0.25
"""After the time until which entries may begin."""

_HEAD: Final = struct.Struct("<QdIII")
_BEGUN: Final = struct.Struct("<I")
_BEGUN_AT: Final = 16
_TEXT_AT: Final = 64
_SIZE: Final = 256 * 1024


class Unit(NamedTuple):
    """One claimed unit."""

    name: str
    token: str


class Unstarted(NamedTuple):
    """What of a batch will never begin."""

    batch: int
    units: tuple[Unit, ...]


class ClaimLedger:
    """One batch at a time. A fork shares it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self._batch = 0

    def open(self, units: Sequence[tuple[str, str]], begin_until: float) -> None:
        """Write down a batch, in its order. ``begin_until``: on the clock of this host that all processes share."""
        self.close()
        if len(units) < 2:  # noqa: PLR2004 - behind one entry nothing waits
            return
        text = json.dumps(units).encode()
        if (
            len(text) <= _SIZE - _TEXT_AT
        ):  # else they wait for their lease, as those of a worker that was killed
            self._memory[_TEXT_AT : _TEXT_AT + len(text)] = text
            _HEAD.pack_into(self._memory, 0, self._batch, begin_until, 0, len(units), len(text))

    def close(self) -> None:
        """Forget the batch."""
        self._batch += 1
        _HEAD.pack_into(self._memory, 0, self._batch, 0.0, 0, 0, 0)

    def begin(self, count: int) -> None:
        """Say that so many entries have begun, or are about to."""
        _BEGUN.pack_into(self._memory, _BEGUN_AT, count)

    def unstarted(self, now: float) -> Unstarted | None:
        """Return what has not begun and never will, for the process beside; None if there is nothing."""
        head = _HEAD.unpack_from(self._memory, 0)
        batch, begin_until, begun, count, size = head
        if begun >= count or now <= begin_until + SLACK_S:
            return None
        text = self._memory[_TEXT_AT : _TEXT_AT + size]
        if _HEAD.unpack_from(self._memory, 0) != head:
            return None  # another batch meanwhile
        return Unstarted(batch, tuple(Unit(*each) for each in json.loads(text)[begun:]))
