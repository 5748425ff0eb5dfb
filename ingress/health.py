"""Readiness: whether this process could hand a callback to the broker right now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from shared.core.envelope import Envelope
from shared.core.errors import Unavailable

FRESH_S: Final = 1.0
"""How long one look at the broker answers for all who ask: probes must not add load to a broker in trouble."""


class Broker(Protocol):
    """What the routes need of a publisher."""

    def publish(self, envelope: Envelope) -> None:
        """Return once the broker has the envelope. Raises Unavailable."""

    def ping(self) -> None:
        """Return if the broker can be reached. Raises Unavailable."""


class Readiness:
    """Asks the broker at most once per ``FRESH_S``, one thread at a time; the others get the last answer."""

    def __init__(self, broker: Broker, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._checked_at: float | None = None
        self._trouble: str | None = None

    def trouble(self) -> str | None:
        """Return what keeps this process from being ready, in one line, or None."""
        with self._lock:
            if self._checked_at is None or self._monotonic() - self._checked_at >= FRESH_S:
                self._trouble = self._ask()
                self._checked_at = self._monotonic()
            return self._trouble

    def _ask(self) -> str | None:
        try:
            self._broker.ping()
        except Unavailable as error:
            return str(error)
        return None
