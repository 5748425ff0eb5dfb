"""The circuit breaker as the threads of one process share it: with a lock, a clock and a line in the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deedbox.ingress.publish.breaker import Breaker, BreakerState
from deedbox.shared.runtime import logs

_log = logs.get("handover")


class Circuit:
    """A breaker that is safe for threads; see ``Breaker`` for what each method means."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._breaker = Breaker()
        self._lock = threading.Lock()
        self._monotonic = monotonic

    @property
    def state(self) -> BreakerState:
        """Whether callbacks are published."""
        return self._breaker.state

    @property
    def is_closed(self) -> bool:
        """Whether callbacks are published."""
        return self._breaker.state is BreakerState.CLOSED

    def admit(self) -> int | None:
        """Return a ticket or None."""
        with self._lock:
            return self._breaker.admit(self._monotonic())

    def admits(self) -> bool:
        """Return whether ``admit`` would give a ticket now."""
        with self._lock:
            return self._breaker.admits(self._monotonic())

    def succeeded(self, ticket: int) -> None:
        """Note that the broker took it."""
        self._change(lambda _: self._breaker.succeeded(ticket))

    def failed(self, ticket: int, cause: str) -> None:
        """Note that the broker did not take it, and why."""
        self._change(lambda now: self._breaker.failed(ticket, now), cause)

    def abandoned(self, ticket: int) -> None:
        """Note that a publish ended without an answer."""
        self._change(lambda _: self._breaker.abandoned(ticket))

    def claim_probe(self) -> bool:
        """Claim the probe, if one is due."""
        with self._lock:
            return self._breaker.claim_probe(self._monotonic())

    def probe_ended(self, *, well: bool) -> None:
        """Note how the claimed probe ended."""
        self._change(lambda now: self._breaker.probe_succeeded() if well else self._breaker.probe_failed(now))

    def _change(self, change: Callable[[float], None], cause: str | None = None) -> None:
        with self._lock:
            before = self._breaker.state
            change(self._monotonic())
            after = self._breaker.state
        if before is BreakerState.CLOSED and after is BreakerState.OPEN:
            _log.warning("breaker.opened", cause=cause)
        elif before is not BreakerState.CLOSED and after is BreakerState.CLOSED:
            _log.info("breaker.closed")
