"""The circuit breaker in front of the broker: a state machine without a clock, a lock or I/O.

A broker that is down costs each publish up to a second or two. After a few failures in a row the breaker opens,
and callbacks go to the spool at once. Requests never try whether the broker is back: one of them would wait. A
probe in the background does, one at a time, and closes the breaker.

Failures alone would be too slow for a broker that freezes: until the first publish has timed out, every request
would run into the same wait. So a publish that is still under way after ``stall_s`` is reason enough to spool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class BreakerState(StrEnum):
    """Whether callbacks are published."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """Open, and a probe is under way."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to give up on the broker, and how often to look after it."""

    failures: int = 3
    """In a row; a single failure may be a connection that the broker closed."""
    stall_s: float = 0.1
    """Spooling needlessly costs an fsync and a repeat of the publish; waiting costs the sender a second."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 5.0
    probe_lost_s: float = 15.0
    """A probe that has not ended by then never will: its thread died."""


@dataclass(slots=True)
class Breaker:
    """The state. Not safe for threads: its owner holds a lock around each call. Times are monotonic seconds."""

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    state: BreakerState = BreakerState.CLOSED
    _failures: int = 0
    _wait_s: float = 0.0
    _probe_at: float = 0.0
    """Open: when the next probe is due. Half-open: when the running one is given up."""
    _under_way: dict[int, float] = field(default_factory=dict)
    """Ticket to start of each publish, oldest first."""
    _tickets: int = 0

    def admit(self, now: float) -> int | None:
        """Return a ticket for one publish, or None: do not publish, spool.

        Every ticket is given back by ``succeeded``, ``failed`` or ``abandoned``.
        """
        if not self.admits(now):
            return None
        self._tickets += 1
        self._under_way[self._tickets] = now
        return self._tickets

    def admits(self, now: float) -> bool:
        """Return whether there is a ticket for a publish."""
        return self.state is BreakerState.CLOSED and not self._stalled(now)

    def succeeded(self, ticket: int) -> None:
        """Note that the broker took it. Closes the breaker: a straggler is as good as a probe."""
        self.abandoned(ticket)
        self.probe_succeeded()

    def failed(self, ticket: int, now: float) -> None:
        """Note that the broker did not take it; opens the breaker after the last allowed failure in a row."""
        self.abandoned(ticket)
        self._failures += 1
        if self.state is BreakerState.CLOSED and self._failures >= self.policy.failures:
            self._open(now, self.policy.first_wait_s)

    def abandoned(self, ticket: int) -> None:
        """Note that a publish ended and says nothing about the broker."""
        self._under_way.pop(ticket, None)

    def claim_probe(self, now: float) -> bool:
        """Return whether a probe is due, and if so, claim it: no other thread gets it until it has ended."""
        if self.state is BreakerState.CLOSED or now < self._probe_at:
            return False
        self.state = BreakerState.HALF_OPEN
        self._probe_at = now + self.policy.probe_lost_s
        return True

    def probe_succeeded(self) -> None:
        """Close the breaker."""
        self.state = BreakerState.CLOSED
        self._failures = 0
        self._wait_s = 0.0

    def probe_failed(self, now: float) -> None:
        """Wait for the next probe, twice as long as for the last one, up to the longest wait."""
        if self.state is not BreakerState.CLOSED:
            self._open(now, min(self._wait_s * 2, self.policy.longest_wait_s))

    def _open(self, now: float, wait_s: float) -> None:
        self.state = BreakerState.OPEN
        self._wait_s = max(wait_s, self.policy.first_wait_s)
        self._probe_at = now + self._wait_s

    def _stalled(self, now: float) -> bool:
        oldest = next(iter(self._under_way.values()), now)
        return now - oldest >= self.policy.stall_s
