"""The order state of a stream, as it is stored: ``order:<stream>``."""

from __future__ import annotations

from typing import Any

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, flag, guarded, many, named, natural, number, words
from deedbox.shared.core.ordering import Arrival, Held, Position, Proof, SequenceState
from deedbox.shared.core.signature import Trust

FORM = "order state"


def dump(state: SequenceState) -> bytes:
    """Return the state's text; ``load`` is the inverse. Lists instead of objects: it is written with every event.

    What few requests have, or none at all, comes last and is left out where it is empty.
    """
    held = [
        [list(each.arrival.position), each.arrival.type, [list(proof) for proof in each.arrival.proofs], each.since,
         int(each.arrival.trust)]
        for each in state.held
    ]  # fmt: skip
    return jsontext.dumps(
        [
            held,
            list(state.greatest) if state.greatest else None,
            sorted(state.satisfied),
            dict(state.wildcards),
            dict(state.given_up),
            state.noted,
            *([dict(state.reconciled)] if state.reconciled else []),
        ]
    )


def load(data: bytes) -> SequenceState | Unreadable:
    """Rebuild the state; Unreadable for any bytes that ``dump`` does not write."""
    return guarded(FORM, data, _state)


def _state(document: Any) -> SequenceState:
    held, greatest, satisfied, wildcards, given_up, noted, *last = document
    [reconciled] = last or [{}]
    return SequenceState(
        held=many(held, _held),
        greatest=None if greatest is None else position(greatest),
        satisfied=frozenset(many(satisfied, words)),
        wildcards=named(wildcards, natural),
        given_up=named(given_up, natural),
        noted=flag(noted),
        reconciled=named(reconciled, natural),
    )


def position(value: Any) -> Position:
    """Read a position. Raises ValueError, TypeError."""
    time, rank, signature, fingerprint = value
    return Position(natural(time), natural(rank), words(signature), words(fingerprint))


def _held(value: Any) -> Held:
    place, kind, proofs, since, trust = value
    arrival = Arrival(position(place), words(kind), many(proofs, _proof), trust=Trust(natural(trust)))
    return Held(arrival, number(since))


def _proof(value: Any) -> Proof:
    kind, signature, time = value
    return Proof(words(kind), words(signature), natural(time))
