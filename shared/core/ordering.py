"""The ordering rule: which held events of one ordering key are released now, and when to look again.

Pure: ``step`` takes the state, the arrivals and the time, and returns a ``Decision``. The rule, in short:
an event is *ready* when it is the smallest held one of its key and every predecessor that its own snapshot
proves has been seen; or when it, or a held event behind it, has waited ``hold_s``. What it waited for is then
*given up*, so that the same gap never costs a second wait. An event behind the greatest released position is
*late*: released at once, and it does not move that position.

Snapshots only ever cause waiting, never trust: ``event_hash`` does not sign the body.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Self

from deedbox.shared.core.values import value

DAY_S: Final = 86_400

SPOOL_LOOK_S: Final = 1.0
"""How often (seconds) a key looks whether the spool that its held events wait for is empty."""

PROOF_HORIZON_S: Final = 4 * DAY_S
"""A predecessor older than this (seconds) cannot still arrive: the vendor's retries end after 30 h or 3 days."""

_P: Final = "signature_request_"

_RANK_ROWS: Final = (
    ("prepared",),
    ("sent",),
    ("reassigned", "remind", "email_bounce", "signer_removed"),
    ("viewed",),  # and every type that no row names
    ("signed",),
    ("declined", "canceled", "expired", "invalid"),
    ("all_signed",),
    ("downloadable",),
    ("destroyed",),
)
RANKS: Final[Mapping[str, int]] = {_P + name: rank for rank, row in enumerate(_RANK_ROWS) for name in row} | {
    "file_error": 5,
    "unknown_error": 5,
    "sign_url_invalid": 5,
}
"""Causal rank of a type: what must come first among events of the same second."""

DEFAULT_RANK: Final = RANKS[_P + "viewed"]


_SENT, _VIEWED, _SIGNED, _ALL_SIGNED = (_P + name for name in ("sent", "viewed", "signed", "all_signed"))
_SENT_RANK, _ALL_SIGNED_RANK = RANKS[_SENT], RANKS[_ALL_SIGNED]
_SNAPSHOT_TIMES: Final = (
    ("last_viewed_at", _VIEWED, RANKS[_VIEWED]),
    ("signed_at", _SIGNED, RANKS[_SIGNED]),
)


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
    """Signature ids that the snapshot shows."""

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
_PROVABLE: Final = _PER_SIGNATURE | {_P + "sent", _P + "all_signed"}


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
    """Names of proofs that an arrival satisfied or that were given up."""
    wildcards: Mapping[str, int] = field(default_factory=dict)
    """Arrivals of a type whose signer is unknown: each satisfies one open proof of that type."""
    given_up: frozenset[str] = frozenset()
    """Names of proofs that were given up and whose events have not come since: callbacks that may be lost."""

    def dump(self) -> list[Any]:
        """Return the state as JSON values; ``load`` is the inverse."""
        return [
            [[list(h.arrival.position), h.arrival.type, [list(p) for p in h.arrival.proofs],
              sorted(h.arrival.signatures), h.since] for h in self.held],
            list(self.greatest) if self.greatest else None,
            sorted(self.satisfied),
            dict(self.wildcards),
            sorted(self.given_up),
        ]  # fmt: skip

    @classmethod
    def load(cls, document: Sequence[Any]) -> Self:
        """Rebuild the state from what ``dump`` returned."""
        held, greatest, satisfied, wildcards, *rest = document
        return cls(
            held=tuple(
                Held(
                    Arrival(
                        Position(*position), kind, tuple(Proof(*p) for p in proofs), frozenset(signatures)
                    ),
                    since,
                )
                for position, kind, proofs, signatures, since in held
            ),
            greatest=Position(*greatest) if greatest else None,
            satisfied=frozenset(satisfied),
            wildcards=wildcards,
            given_up=frozenset(rest[0] if rest else ()),  # absent in what earlier versions wrote
        )


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
    wake_at: float | None
    """When a held event becomes ready without any arrival; None if nothing is held."""

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
    satisfied = set(state.satisfied)
    wildcards = dict(state.wildcards)
    lost = set(state.given_up)
    for arrival, since in arrivals:
        if arrival.fingerprint in known:
            duplicates.append(arrival)
            continue
        known.add(arrival.fingerprint)
        _satisfy(arrival, satisfied, wildcards)
        _found_again(arrival, lost)
        if state.greatest is not None and arrival.position < state.greatest:
            release.append(Released(arrival, late=True, since=since))
        else:
            held.append(Held(arrival, since))
    held.sort(key=lambda item: item.arrival.position)
    greatest = state.greatest
    given_up: list[Proof] = []
    while held:
        first = held[0]
        missing = _missing(first.arrival, satisfied, wildcards)
        if now < _ready_at(held, missing, policy, spooled_since):
            break
        if missing:
            given_up.extend(missing)
            satisfied.update(proof.name for proof in missing)
            lost.update(proof.name for proof in missing)
        release.append(Released(first.arrival, late=False, since=first.since))
        greatest = first.arrival.position
        del held[0]
    wake_at = None
    if held:
        missing = _missing(held[0].arrival, satisfied, wildcards)
        wake_at = _ready_at(held, missing, policy, spooled_since)
        if spooled_since is not None:
            # The spool may be drained before that: look again when the hold would have ended without it.
            wake_at = min(wake_at, max(_ready_at(held, missing, policy, None), now + SPOOL_LOOK_S))
    after = replace(
        state,
        held=tuple(held),
        greatest=greatest,
        satisfied=frozenset(satisfied),
        wildcards=wildcards,
        given_up=frozenset(lost),
    )
    return Decision(after, tuple(release), tuple(duplicates), tuple(given_up), wake_at)


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


def _satisfy(arrival: Arrival, satisfied: set[str], wildcards: dict[str, int]) -> None:
    if arrival.type not in _PROVABLE:
        return
    name = arrival.satisfies
    if name is None:
        wildcards[arrival.type] = wildcards.get(arrival.type, 0) + 1
    else:
        satisfied.add(name)


def _found_again(arrival: Arrival, lost: set[str]) -> None:
    """Take what came late off the list of what was given up; an unknown signer's event stands for any one."""
    name = arrival.satisfies
    if name is None:
        name = min((each for each in lost if each.startswith(f"{arrival.type}|")), default="")
    lost.discard(name)


def _missing(arrival: Arrival, satisfied: Collection[str], wildcards: Mapping[str, int]) -> list[Proof]:
    """List the proved predecessors that were not seen, after each wildcard has satisfied one of its type."""
    budget = dict(wildcards)
    missing = []
    for proof in arrival.proofs:
        if proof.name in satisfied:
            continue
        if budget.get(proof.type, 0) > 0:
            budget[proof.type] -= 1
            continue
        missing.append(proof)
    return missing


def _ready_at(
    held: Sequence[Held], missing: Sequence[Proof], policy: OrderingPolicy, spooled_since: float | None
) -> float:
    """Tell when the smallest held event becomes ready if nothing arrives."""
    expires = min(_expires(item, policy, spooled_since) for item in held)
    return expires if missing else min(held[0].since + policy.settle_s, expires)


def _expires(item: Held, policy: OrderingPolicy, spooled_since: float | None) -> float:
    waits_for_spool = spooled_since is not None and spooled_since < item.since
    return item.since + (max(policy.expiry_s, policy.hold_max_s) if waits_for_spool else policy.expiry_s)


def arrival_of(
    event_type: str,
    event_time: int,
    related_signature_id: str | None,
    fingerprint: str,
    payload: Mapping[str, Any],
) -> Arrival:
    """Reduce a parsed callback to what the rule looks at: its position and what its snapshot proves."""
    signature = related_signature_id or ""
    position = Position(event_time, RANKS.get(event_type, DEFAULT_RANK), signature, fingerprint)
    request = payload.get("signature_request")
    if not isinstance(request, dict):
        return Arrival(position, event_type)
    signatures = [row for row in _rows(request.get("signatures")) if _is_id(row.get("signature_id"))]
    proofs = tuple(_proofs(request, signatures, position, event_type))
    return Arrival(position, event_type, proofs, frozenset([row["signature_id"] for row in signatures]))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _rows(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _proofs(
    request: Mapping[str, Any], signatures: Sequence[Mapping[str, Any]], position: Position, event_type: str
) -> Iterable[Proof]:
    """Yield the predecessors that the snapshot shows to have happened, and that can still arrive.

    A predecessor is before the event's own place and at most ``PROOF_HORIZON_S`` older. An event is its own proof,
    and `all_signed` at the last signature's time is no predecessor of a signature.
    """
    here = position[:3]
    oldest = position.time - PROOF_HORIZON_S
    created = _seconds(request.get("created_at"))
    if created is not None and created >= oldest and event_type != _SENT and (created, _SENT_RANK, "") < here:
        yield Proof(_SENT, "", created)
    signed_times = []
    for row in signatures:
        signature = row["signature_id"]
        for name, kind, rank in _SNAPSHOT_TIMES:
            at = _seconds(row.get(name))
            if at is None:
                continue
            if kind is _SIGNED:
                signed_times.append(at)
            own = kind == event_type and signature == position.signature
            if at >= oldest and not own and (at, rank, signature) < here:
                yield Proof(kind, signature, at)
    if request.get("is_complete") is True and signed_times and event_type != _ALL_SIGNED:
        last = max(signed_times)
        if last >= oldest and (last, _ALL_SIGNED_RANK, "") < here:
            yield Proof(_ALL_SIGNED, "", last)


def _seconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value
