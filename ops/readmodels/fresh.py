"""One look for all who ask at the same time: many browsers poll, the broker is asked once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Calls ``look`` at most once per ``keep_s`` seconds. A failed look is not kept. Shared by threads."""

    def __init__(
        self, look: Callable[[], T], keep_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """Return what was seen last, if that is recent; else look. Raises what the look raises."""
        with self._lock:
            if self._kept is not None and self._monotonic() - self._kept[0] < self._keep_s:
                return self._kept[1]
            found = self._look()
            self._kept = (self._monotonic(), found)
            return found
