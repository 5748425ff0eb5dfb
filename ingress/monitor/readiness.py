"""Readiness: whether this process could make a callback durable right now, and what is not as it should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.reasons import Refusal

BREAKER_OPEN: Final = "the circuit breaker is open"

FRESH_S: Final = 1.0
"""How long one look at the broker answers for all who ask: probes must not add load to a broker in trouble."""


class PingedBroker(Protocol):
    """What the routes need of a publisher."""

    def publish(self, envelope: Envelope) -> None:
        """Return once the broker has the envelope. Raises Unavailable."""

    def ping(self) -> None:
        """Return if the broker can be reached. Raises Unavailable."""


class Spooling(Protocol):
    """What readiness needs to know of the spool."""

    @property
    def has_spool(self) -> bool:
        """Whether callbacks go to a spool while the broker is down."""

    @property
    def publishes(self) -> bool:
        """Whether callbacks go to the broker: its circuit breaker is closed."""

    def broker_warning(self) -> str | None:
        """Return why callbacks go to the spool although the broker is well, or None."""

    def spool_trouble(self) -> tuple[Refusal, str] | None:
        """Return why the spool would not take a callback, or None."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe is told."""

    refusal: Refusal | None = None
    """None: ready. Otherwise why a callback would be refused now."""
    text: str | None = None
    """What is wrong, in one line; on a ready process a warning."""


class Readiness:
    """Looks at broker and spool at most once per ``FRESH_S``, one thread at a time; the others get the last answer."""

    def __init__(
        self, broker: PingedBroker, spool: Spooling, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._broker = broker
        self._spool = spool
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._checked_at: float | None = None
        self._health = Health()

    def health(self) -> Health:
        """Return what was found less than ``FRESH_S`` ago."""
        with self._lock:
            if self._checked_at is None or self._monotonic() - self._checked_at >= FRESH_S:
                self._health = self._look()
                self._checked_at = self._monotonic()
            return self._health

    def _look(self) -> Health:
        broker = self._broker_trouble()
        if not self._spool.has_spool:
            return Health(Refusal.BROKER_UNAVAILABLE, broker) if broker else Health()
        spool = self._spool.spool_trouble()
        if broker and spool:
            return Health(spool[0], f"{broker}; {spool[1]}")
        if broker:
            return Health(text=f"{broker}; callbacks go to the spool")
        warnings = [
            self._spool.broker_warning(),
            f"{spool[1]}; only the broker takes callbacks" if spool else None,
        ]
        return Health(text="; ".join(filter(None, warnings)) or None)

    def _broker_trouble(self) -> str | None:
        try:
            self._broker.ping()
        except Unavailable as error:
            return str(error)
        # It may answer, and take no callbacks.
        return None if self._spool.publishes or not self._spool.has_spool else BREAKER_OPEN
