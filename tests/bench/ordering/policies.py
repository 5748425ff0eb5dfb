"""Who releases what when: Deedbox's rule, a fixed wait, no wait, and hindsight; each over one request's deliveries.

The clock is virtual: it jumps from one arrival or expiry to the next, and deciding takes no time. All of them take the
first delivery of a fact and release it once: only when and in which order differs.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from deedbox.shared.core.ordering import OrderingPolicy, Position, SequenceState, step
from tests.bench.ordering.traffic import Incoming

NEVER: Final = float("inf")


class Release(NamedTuple):
    """One event, handed on."""

    position: Position
    arrived_at: float
    released_at: float
    late: bool = False
    """As flagged by Deedbox; other policies flag nothing."""

    @property
    def event_time(self) -> int:
        """When it happened (unix seconds)."""
        return self.position.time

    @property
    def added_s(self) -> float:
        """What ordering cost it."""
        return self.released_at - self.arrived_at


def deedbox(stream: Sequence[Incoming], policy: OrderingPolicy) -> list[Release]:
    """Release as the sequencer does: a step at every arrival, and whenever a step asked to be woken.

    Like ``Sequencer._decide`` for a shard without a backlog: what was appended at ``now`` is judged at ``now``, together
    with holds that end then.
    """
    state, seen, wake_at = SequenceState(), set[str](), NEVER
    releases: list[Release] = []

    def advance(arrivals: Sequence[Incoming], now: float) -> None:
        nonlocal state, wake_at
        decision = step(state, [(each.arrival, each.at) for each in arrivals], now, policy, seen)
        seen.update(each.fingerprint for each in arrivals)
        state = decision.state
        wake_at = NEVER if decision.wake_at is None else decision.wake_at
        releases.extend(
            Release(each.arrival.position, each.since, now, each.late) for each in decision.release
        )

    for each in stream:
        while wake_at < each.at:
            advance((), wake_at)
        advance((each,), each.at)
    while wake_at < NEVER:
        advance((), wake_at)
    return releases


def fixed_wait(stream: Sequence[Incoming], wait_s: float) -> list[Release]:
    """Keep every event for ``wait_s`` after its arrival."""
    return _buffered([(each, each.at + wait_s) for each in _facts(stream)])


def hindsight(stream: Sequence[Incoming], bound_s: float) -> list[Release]:
    """Wait for exactly those predecessors that come within ``bound_s``, as only somebody can who knows the future.

    What the order of a fixed wait costs at least: no mean below this one keeps it.
    """
    facts = list(_facts(stream))
    return _buffered([(each, _last_in_time(each, facts, bound_s)) for each in facts])


def _last_in_time(event: Incoming, facts: Sequence[Incoming], bound_s: float) -> float:
    """Tell when the last predecessor comes that comes within the bound; at once, if none does."""
    position, end = event.arrival.position, event.at + bound_s
    return max(each.at for each in facts if each.at <= end and each.arrival.position <= position)


def _buffered(waits: Sequence[tuple[Incoming, float]]) -> list[Release]:
    """Release from a buffer sorted by position, each event when its own wait or that of a later one is over.

    ``waits``: events in order of arrival, with the end of their wait.
    """
    buffer: list[tuple[Position, float]] = []
    ends: list[tuple[float, Position]] = []
    releases: list[Release] = []

    def expire(until: float) -> None:
        while ends and ends[0][0] < until:
            now, position = heappop(ends)
            while buffer and buffer[0][0] <= position:
                waiting, arrived_at = buffer.pop(0)
                releases.append(Release(waiting, arrived_at, now))

    for each, end in waits:
        expire(each.at)
        insort(buffer, (each.arrival.position, each.at))
        heappush(ends, (end, each.arrival.position))
    expire(NEVER)
    return releases


def no_wait(stream: Sequence[Incoming]) -> list[Release]:
    """Release everything as it comes."""
    return [Release(each.arrival.position, each.at, each.at) for each in _facts(stream)]


def _facts(stream: Sequence[Incoming]) -> Iterator[Incoming]:
    """Yield the first delivery of every fact."""
    seen: set[str] = set()
    for each in stream:
        if each.fingerprint not in seen:
            seen.add(each.fingerprint)
            yield each
