"""One look for all who ask at the same time: many browsers poll, the broker is asked once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from deedbox.shared.core.errors import DeedboxError

T = TypeVar("T")


class Fresh(Generic[T]):
    """Calls ``look`` at most once per ``keep_s`` seconds. Shared by threads.

    A failed look is not kept, but those who waited for it share it: while Redis is away each look costs seconds, which
    they would pay one after the other.
    """

    def __init__(
        self, look: Callable[[], T], keep_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None
        self._failed: tuple[float, DeedboxError] | None = None

    def get(self) -> T:
        """Return what was seen last, if that is recent; else look. Raises what the look raises."""
        asked_at = self._monotonic()
        with self._lock:
            if self._kept is not None and self._monotonic() - self._kept[0] < self._keep_s:
                return self._kept[1]
            if self._failed is not None and self._failed[0] > asked_at:
                raise self._failed[1]
            try:
                found = self._look()
            except DeedboxError as error:
                self._failed = (self._monotonic(), error)
                raise
            self._kept = (self._monotonic(), found)
            return found

    def last(self) -> T | None:
        """Return what was seen last, however old; None if nothing was seen yet."""
        return None if self._kept is None else self._kept[1]
