"""The ordering rule: which held events of one ordering key are released now, and when to look again.

Pure: ``step`` takes the state, the arrivals and the time, and returns a ``Decision``. The smallest held event of a key
is *ready* when every predecessor that its own snapshot proves has been seen. It is also ready when it, or a held
event behind it, has waited ``hold_s``. What it waited for is then *given up*: only the first event of a later second waits
for it once more. An event behind the greatest released position is *late*: it is released at once, and does not move it.

An event may be made of an answer of the API, because its callback had not come. It stands for that callback, whenever
that comes. If any callback of its type and signer came before, it is a duplicate.

Snapshots only ever cause waiting, never trust: ``event_hash`` does not sign the body.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from deedbox.shared.core.signature import Origin, Trust
from deedbox.shared.core.values import value

DAY_S: Final = 86_400

SPOOL_LOOK_S: Final = 1.0
"""How often (seconds) a key looks whether the spool that its held events wait for is empty."""

PROOFS_PER_SNAPSHOT: Final = 1_000
"""A request of 300 signers proves fewer. ``event_hash`` signs no snapshot: a forged one may show any number."""

PROOFS_PER_KEY: Final = 5_000
"""What is remembered of one key and what its held events wait for. Beyond it nothing is held: the order state would
grow with every forged snapshot, and each later callback of the request would write all of it."""

PROOF_HORIZON_S: Final = 4 * DAY_S
"""A predecessor older than this (seconds) cannot still arrive: the vendor's retries end after 30 h or 3 days."""

_P: Final = "signature_request_"


class Position(NamedTuple):
    """Place of an event in its stream; compares in this order."""

    time: int
    rank: int
    signature: str
    fingerprint: str


class Proof(NamedTuple):
    """A predecessor that a snapshot shows to have happened."""

    type: str
    signature: str
    time: int

    @property
    def name(self) -> str:
        """What is remembered of it: any view of a signature satisfies its viewed proof, whatever the time."""
        return f"{self.type}|{self.signature}"


SAME_S: Final[Mapping[str, float]] = {
    _P + "sent": 3600.0,
    _P + "viewed": 60.0,
    _P + "downloadable": float(DAY_S),
}
"""Types that may happen again: a callback up to so many seconds after the time that the API shows is of the same event.
`sent` comes when the conversion is over, after `created_at`; for `downloadable` the API shows no time, and the last
signature's counts. Every other type that is made of the API happens once for a signer, whatever the times are."""

EARLIER_S: Final = 60.0  # the same for a callback that is earlier


@dataclass(frozen=True, slots=True)
class OrderingPolicy:
    """How long to wait, in seconds.

    ``hold_s`` bounds the wait for proved predecessors; ``settle_s`` is a wait of every event, for those that
    no snapshot proves. An event's hold never ends before it has settled.
    """

    hold_s: float = 30.0
    settle_s: float = 0.0
    hold_max_s: float = 600.0
    """Bound of the hold while an ingress host still spools callbacks that were received before the event."""

    @property
    def expiry_s(self) -> float:
        """Longest wait of any event."""
        return max(self.hold_s, self.settle_s)


@value
class Arrival:
    """One delivered callback, reduced to what the rule looks at."""

    position: Position
    type: str
    proofs: tuple[Proof, ...] = ()
    signatures: frozenset[str] = frozenset()
    """Signature ids that the snapshot shows; empty while the event is held, which no longer needs them."""
    crowded: bool = False
    """The snapshot proves more than ``PROOFS_PER_SNAPSHOT``: it counts as proving nothing."""
    trust: Trust = Trust.CLAIMED
    """How far its body is trusted: a better body of a held fact says what that fact waits for."""
    origin: Origin = Origin.CALLBACK

    @property
    def fingerprint(self) -> str:
        """Identity of the fact."""
        return self.position.fingerprint

    @property
    def satisfies(self) -> str | None:
        """Name of the proof that this event satisfies; None if its signer is unknown: any one of its type."""
        if self.type not in _PER_SIGNATURE:
            return f"{self.type}|"
        signature = self.position.signature
        return f"{self.type}|{signature}" if signature in self.signatures else None


_PER_SIGNATURE: Final = frozenset({_P + "viewed", _P + "signed"})
_REMEMBERED: Final = _PER_SIGNATURE | {
    _P + each for each in ("sent", "all_signed", "declined", "expired", "downloadable")
}
"""Types of which a snapshot or the API can prove that they happened: whether one came is remembered."""


@value
class Held:
    """An event that waits, since when (seconds, the inbox's clock)."""

    arrival: Arrival
    since: float


@value
class SequenceState:
    """What the rule remembers of one ordering key."""

    held: tuple[Held, ...] = ()
    """In position order."""
    greatest: Position | None = None
    """Greatest released position."""
    satisfied: frozenset[str] = frozenset()
    """Names of what came, and of proofs that were given up."""
    wildcards: Mapping[str, int] = field(default_factory=dict)
    """Arrivals of a type whose signer is unknown: each satisfies one open proof of that type."""
    given_up: Mapping[str, int] = field(default_factory=dict)
    """Names of proofs that were given up and whose events have not come since: callbacks that may be lost. Each with
    the ``event_time`` of the first event that was released without it."""
    noted: bool = False
    """Whether a ``Decision`` has said already that there were more proofs than are kept."""
    reconciled: Mapping[str, int] = field(default_factory=dict)
    """Names of the events that were made of the API's answers, with their times: each stands for its callback."""

    @property
    def came(self) -> frozenset[str]:
        """Names of what came. Not all of them, once there were more than are kept."""
        return self.satisfied - self.given_up.keys()


@value
class Released:
    """An event to dispatch now."""

    arrival: Arrival
    late: bool
    since: float
    """When it arrived; the difference to now is what ordering cost it."""


@value
class Decision:
    """What one step decided. The caller records it in one transaction."""

    state: SequenceState
    release: tuple[Released, ...]
    """In dispatch order; late ones are flagged."""
    duplicates: tuple[Arrival, ...]
    given_up: tuple[Proof, ...]
    """What an event was released without, after a wait for it: twice, if two events waited for it."""
    wake_at: float | None
    """When a held event becomes ready without any arrival; None if nothing is held."""
    crowded: bool = False
    """For the first time of this key there were more proofs than are kept, and so an event was not held."""
    stood_for: frozenset[int] = frozenset()
    """Places among the arrivals, from 0, of duplicates whose event is known by another origin: their bodies count for nothing."""

    @property
    def late(self) -> tuple[Arrival, ...]:
        """The released events that came behind the greatest released position."""
        return tuple(released.arrival for released in self.release if released.late)


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
    memory = _Memory(state)
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
        if now < _ready_at(held, missing, policy, spooled_since):
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


class _Memory:
    """What one step knows of the events before: a copy of the state, brought up to date as the step goes on."""

    def __init__(self, state: SequenceState) -> None:
        self.greatest = state.greatest
        self.satisfied = set(state.satisfied)
        self.wildcards = dict(state.wildcards)
        self.given_up = dict(state.given_up)
        self.reconciled = dict(state.reconciled)

    def take(self, arrival: Arrival) -> None:
        """Remember that an event came, and which proof it satisfies. It is given up no more."""
        name, kind = arrival.satisfies, arrival.type
        if name is None:
            self.wildcards[kind] = self.wildcards.get(kind, 0) + 1
            # An unknown signer's event counts for any signer.
            name = min((each for each in self.given_up if each.startswith(f"{kind}|")), default="")
        elif kind in _REMEMBERED and len(self.satisfied) < PROOFS_PER_KEY:
            self.satisfied.add(name)
        self.given_up.pop(name, None)
        if arrival.origin is Origin.RECONCILED:
            self.reconciled[name] = arrival.position.time

    def is_stood_for(self, arrival: Arrival, known: Collection[str]) -> bool:
        """Return whether an event is known by another origin.

        What is made of the API's answers gives way to everything that may be its callback: one whose signer is unknown, and
        one that is not remembered, because there were too many. An action must not run twice for one event.
        """
        name = arrival.satisfies
        if arrival.origin is Origin.RECONCILED:
            came = name in self.satisfied and name not in self.given_up
            unsure = name is None or arrival.type in self.wildcards or len(self.satisfied) >= PROOFS_PER_KEY
            return came or unsure or arrival.fingerprint in known
        at = self.reconciled.get(name or "")
        if at is None:
            return False
        return arrival.type not in SAME_S or -EARLIER_S <= arrival.position.time - at <= SAME_S[arrival.type]

    def missing(self, arrival: Arrival) -> list[Proof]:
        """List the predecessors that an event waits for, after each wildcard has satisfied one of its type."""
        still_open = self.open_proofs(arrival)
        if not still_open or not self.wildcards:
            return still_open
        budget = dict(self.wildcards)
        missing = []
        for proof in still_open:
            if budget.get(proof.type, 0) > 0:
                budget[proof.type] -= 1
            else:
                missing.append(proof)
        return missing

    def open_proofs(self, arrival: Arrival) -> list[Proof]:
        """List the proofs whose events were not seen, or were given up and are worth one more wait."""
        return [
            proof
            for proof in arrival.proofs
            if (name := proof.name) not in self.satisfied
            or (name in self.given_up and self._is_worth_a_wait(proof, arrival))
        ]

    def _is_worth_a_wait(self, proof: Proof, arrival: Arrival) -> bool:
        """Return whether an event is the first one whose release puts a given-up proof's ``event_time`` out of order.

        By position it comes late already. But among events of its own second no ``event_time`` is out of order.
        """
        # A view and a signature show their second. `sent` and `all_signed` show the earliest that is possible.
        second = proof.time if proof.type in _PER_SIGNATURE else self.given_up[proof.name]
        return self.greatest is not None and self.greatest.time <= second < arrival.position.time

    def is_crowded(self, held: Iterable[Held]) -> bool:
        """Return whether there are more proofs than are kept."""
        return len(self.satisfied) + sum(len(item.arrival.proofs) for item in held) >= PROOFS_PER_KEY

    def release(self, arrival: Arrival, missing: Iterable[Proof]) -> None:
        """Move on to the place of a released event, and give up what it was released without."""
        self.greatest = arrival.position
        for proof in missing:
            self.satisfied.add(proof.name)
            self.given_up.setdefault(proof.name, arrival.position.time)

    def state(self, held: Iterable[Held], *, noted: bool) -> SequenceState:
        """Return what is remembered, with the events that are still held."""
        return SequenceState(
            tuple(self._reduced(item) for item in held), self.greatest, frozenset(self.satisfied),
            self.wildcards, self.given_up, noted, self.reconciled,
        )  # fmt: skip

    def _reduced(self, item: Held) -> Held:
        """Leave out what a held event needs no more: a proof that is not open never opens again."""
        arrival = item.arrival
        still_open = tuple(self.open_proofs(arrival))
        if len(still_open) == len(arrival.proofs) and not arrival.signatures:
            return item
        return Held(replace(arrival, proofs=still_open, signatures=frozenset()), item.since)


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
    expires = min(_expires(item, policy, spooled_since) for item in held)
    return expires if missing else min(held[0].since + policy.settle_s, expires)


def _expires(item: Held, policy: OrderingPolicy, spooled_since: float | None) -> float:
    waits_for_spool = spooled_since is not None and spooled_since < item.since
    return item.since + (max(policy.expiry_s, policy.hold_max_s) if waits_for_spool else policy.expiry_s)
