"""What the ordering rule looks at, what it remembers of a key, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from deedbox.shared.core.signature import Origin, Trust
from deedbox.shared.core.values import value

DAY_S: Final = 86_400

PROOFS_PER_SNAPSHOT: Final = 1_000
"""A request of 300 signers proves fewer. ``event_hash`` signs no snapshot: a forged one may show any number."""

PROOFS_PER_KEY: Final = 5_000
"""What is remembered of one key and what its held events wait for. Beyond it nothing is held: the order state would
grow with every forged snapshot, and each later callback of the request would write all of it."""

PROOF_HORIZON_S: Final = 4 * DAY_S
"""A predecessor older than this (seconds) cannot still arrive: the vendor's retries end after 30 h or 3 days."""

PREFIX: Final = "signature_request_"


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
        if self.type not in PER_SIGNATURE:
            return f"{self.type}|"
        signature = self.position.signature
        return f"{self.type}|{signature}" if signature in self.signatures else None


PER_SIGNATURE: Final = frozenset({PREFIX + "viewed", PREFIX + "signed"})


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
