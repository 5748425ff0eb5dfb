"""Whether the Redis that is our broker has room: looked at in the background, asked by every request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from deedbox.shared.broker.fullness import RoomPolicy
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.runtime import logs

LOOK_EVERY_S: Final = 1.0
"""At 2,000 callbacks/s of 3 KB, 6 MB come in between two looks."""

FRESH_S: Final = 0.1
"""Draining fills faster than requests do; it looks again after so long."""

NO_ROOM: Final = "the broker's Redis is almost full"

_log = logs.get("room")


@runtime_checkable
class Measured(Protocol):
    """A broker that can say how full it is."""

    def fullness(self) -> float | None:
        """Return the share of its memory in use; None if it has no limit. Raises Unavailable."""


class Room:
    """What is known about the broker's room. Safe for threads; ``is_full`` never waits."""

    def __init__(
        self,
        broker: object,
        policy: RoomPolicy = RoomPolicy(),  # noqa: B008 - frozen
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker if isinstance(broker, Measured) else None
        self._policy = policy
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._share: float | None = None
        self.is_full = False

    @property
    def warning(self) -> str | None:
        """Say in one line that the broker is full, or None."""
        if not self.is_full:
            return None
        return (
            f"{NO_ROOM} ({self._share or 0:.0%} of maxmemory); callbacks go to the spool until there is room"
        )

    def look(self) -> bool:
        """Look, unless somebody has just looked. Returns whether the broker is full. Not for a request: may wait.

        A broker that does not answer leaves the last answer: the circuit breaker is there for that.
        """
        if self._broker is None:
            return False
        with self._lock:
            if self._monotonic() - self._looked_at >= FRESH_S:
                try:
                    self._decide(self._broker.fullness())
                except Unavailable:
                    pass
                finally:
                    self._looked_at = self._monotonic()
        return self.is_full

    def _decide(self, share: float | None) -> None:
        before = self.is_full
        self._share = share
        self.is_full = self._policy.is_full(share, was_full=before)
        if self.is_full and not before:
            _log.error("room.full", used=round(share or 0, 3), spooling_from=self._policy.full_from)
        elif before and not self.is_full:
            _log.info("room.again", used=None if share is None else round(share, 3))
