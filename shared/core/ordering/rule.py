"""The steps of one key: what is released, held or a duplicate, and when to look again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from deedbox.shared.core.ordering.memory import SequenceMemory
from deedbox.shared.core.ordering.sequence import (
    Arrival,
    Decision,
    Held,
    OrderingPolicy,
    Proof,
    Released,
    SequenceState,
)

SPOOL_LOOK_S: Final = 1.0
"""How often (seconds) a key looks whether the spool that its held events wait for is empty."""


def step(
    state: SequenceState,
    arrivals: Iterable[tuple[Arrival, float]],
    now: float,
    policy: OrderingPolicy,
    seen: Collection[str] = (),
    spooled_since: float | None = None,
) -> Decision:
    """Advance one ordering key.

    ``arrivals``: events with the time of their append to the inbox, in arrival order.
    ``seen``: those fingerprints among the arrivals that earlier steps were given (the dedupe memory); this
    step's own arrivals and the held ones need not be in it.
    ``spooled_since``: time of receipt of the oldest callback in any host's spool. An event that came after it may
    be waiting for just that callback, so its hold goes on, up to ``hold_max_s``.
    """
    known = set(seen) | {held.arrival.fingerprint for held in state.held}
    duplicates: list[Arrival] = []
    release: list[Released] = []
    held = list(state.held)
    memory = SequenceMemory(state)
    stood_for: set[int] = set()
    crowded = False
    for place, (arrival, since) in enumerate(arrivals):
        if memory.is_stood_for(arrival, known):
            duplicates.append(arrival)
            stood_for.add(place)
            continue
        if arrival.fingerprint in known:
            duplicates.append(arrival)
            held = [_better(item, arrival) for item in held]
            continue
        known.add(arrival.fingerprint)
        crowded |= arrival.crowded
        memory.take(arrival)
        if state.greatest is not None and arrival.position < state.greatest:
            release.append(Released(arrival, late=True, since=since))
        else:
            held.append(Held(arrival, since))
    held.sort(key=lambda item: item.arrival.position)
    given_up: list[Proof] = []
    while held:
        first = held[0]
        missing = memory.missing(first.arrival)
        if missing and memory.is_crowded(held):
            crowded, missing = True, []
        settled = not missing and now >= first.since + policy.settle_s
        if not settled and now < _expires_at(held, policy, spooled_since):
            break
        given_up.extend(missing)
        memory.release(first.arrival, missing)
        release.append(Released(first.arrival, late=False, since=first.since))
        del held[0]
    wake_at = _wake_at(held, memory.missing(held[0].arrival), now, policy, spooled_since) if held else None
    return Decision(
        memory.state(held, noted=state.noted or crowded), tuple(release), tuple(duplicates), tuple(given_up),
        wake_at, crowded and not state.noted, frozenset(stood_for),
    )  # fmt: skip


def pass_through(arrivals: Iterable[tuple[Arrival, float]], seen: Collection[str]) -> Decision:
    """Decide for a stream without an order (events without an id): everything new goes out as it came."""
    known = set(seen)
    release: list[Released] = []
    duplicates: list[Arrival] = []
    for arrival, since in arrivals:
        if arrival.fingerprint in known:
            duplicates.append(arrival)
        else:
            known.add(arrival.fingerprint)
            release.append(Released(arrival, late=False, since=since))
    return Decision(SequenceState(), tuple(release), tuple(duplicates), (), None)


def _better(item: Held, arrival: Arrival) -> Held:
    """Let a better body of a held fact replace its proofs: a forged snapshot must not go on holding a genuine fact.

    Its place stays: two bodies of one fact may name its signer or not.
    """
    if item.arrival.fingerprint != arrival.fingerprint or arrival.trust <= item.arrival.trust:
        return item
    return Held(replace(arrival, position=item.arrival.position), item.since)


def _wake_at(
    held: Sequence[Held], missing: Sequence[Proof], now: float, policy: OrderingPolicy, spooled_since: float | None
) -> float:  # fmt: skip
    ready_at = _ready_at(held, missing, policy, spooled_since)
    if spooled_since is None:
        return ready_at
    # The spool may be drained before that: look again when the hold would have ended without it.
    return min(ready_at, max(_ready_at(held, missing, policy, None), now + SPOOL_LOOK_S))


def _ready_at(
    held: Sequence[Held], missing: Sequence[Proof], policy: OrderingPolicy, spooled_since: float | None
) -> float:
    """Return when the smallest held event becomes ready if nothing arrives."""
    expires = _expires_at(held, policy, spooled_since)
    return expires if missing else min(held[0].since + policy.settle_s, expires)


def _expires_at(held: Sequence[Held], policy: OrderingPolicy, spooled_since: float | None) -> float:
    return min(_expires(item, policy, spooled_since) for item in held)


def _expires(item: Held, policy: OrderingPolicy, spooled_since: float | None) -> float:
    waits_for_spool = spooled_since is not None and spooled_since < item.since
    return item.since + (max(policy.expiry_s, policy.hold_max_s) if waits_for_spool else policy.expiry_s)
