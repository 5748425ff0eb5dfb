"""A callback's snapshot as the ordering rule sees it: what it proves to have happened before. Pure and total.

``event_hash`` does not sign the snapshot, so that its fields may hold any JSON: what has another shape proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from deedbox.shared.core.ordering import (
    PROOF_HORIZON_S,
    PROOFS_PER_SNAPSHOT,
    Arrival,
    Position,
    Proof,
)
from deedbox.shared.core.routing import DEFAULT_RANK, RANKS
from deedbox.shared.core.signature import Origin, Trust

SIGNATURE_MAX_CHARS: Final = 200
"""Longest signature id: genuine ones have 32 characters, and each becomes a part of the stored order state."""

_P: Final = "signature_request_"
_SENT, _VIEWED, _SIGNED, _ALL_SIGNED = (_P + name for name in ("sent", "viewed", "signed", "all_signed"))
_SENT_RANK, _ALL_SIGNED_RANK = RANKS[_SENT], RANKS[_ALL_SIGNED]
_SNAPSHOT_TIMES: Final = (
    ("last_viewed_at", _VIEWED, RANKS[_VIEWED]),
    ("signed_at", _SIGNED, RANKS[_SIGNED]),
)


def arrival_of(
    event_type: str,
    event_time: int,
    related_signature_id: str | None,
    fingerprint: str,
    payload: Mapping[str, Any],
    trust: Trust = Trust.CLAIMED,
    origin: Origin = Origin.CALLBACK,
) -> Arrival:
    """Reduce a parsed callback to what the rule looks at: its position and what its snapshot proves."""
    signature = (related_signature_id or "")[:SIGNATURE_MAX_CHARS]
    position = Position(event_time, RANKS.get(event_type, DEFAULT_RANK), signature, fingerprint)
    request = payload.get("signature_request")
    if not isinstance(request, dict):
        return Arrival(position, event_type, trust=trust, origin=origin)
    signatures = _rows(request.get("signatures"))
    proofs = tuple(islice(_proofs(request, signatures, position, event_type), PROOFS_PER_SNAPSHOT + 1))
    shown = frozenset([row["signature_id"] for row in signatures])
    if len(proofs) > PROOFS_PER_SNAPSHOT:
        return Arrival(position, event_type, (), shown, crowded=True, trust=trust, origin=origin)
    return Arrival(position, event_type, proofs, shown, trust=trust, origin=origin)


def _rows(value: object) -> list[dict[str, Any]]:
    """Return the rows of the signers that have an id."""
    return [
        row
        for row in (value if isinstance(value, list) else ())
        if isinstance(row, dict)
        and isinstance(signature := row.get("signature_id"), str)
        and 0 < len(signature) <= SIGNATURE_MAX_CHARS
    ]


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
    return value if type(value) is int and value >= 0 else None
