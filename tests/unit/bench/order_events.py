"""Deliveries by hand, for the order comparison's tests."""

from __future__ import annotations

from collections.abc import Sequence

from deedbox.shared.core.ordering import Arrival, Position, Proof
from deedbox.shared.core.routing import RANKS
from deedbox.shared.simulator.story import ALL_SIGNED, DOWNLOADABLE, SIGNED
from tests.bench.ordering.traffic import Incoming

SIGNED_PROOF = Proof(SIGNED, "s", 100)
ALL_SIGNED_PROOF = Proof(ALL_SIGNED, "", 100)


def event(name: str, at: float, event_time: int, kind: str = "any", proofs: Sequence[Proof] = ()) -> Incoming:
    """Return one delivery, ``at`` seconds after the beginning."""
    rank = RANKS.get(kind, 3)
    signature = "s" if kind == SIGNED else ""
    position = Position(event_time, rank, signature, name)
    return Incoming(at, Arrival(position, kind, tuple(proofs), frozenset("s")))


def given_up() -> list[Incoming]:
    """Return an ending whose `signed` comes 25 s late: `all_signed` is of its second, `downloadable` 20 s younger."""
    return [
        event("all_signed", 100.0, 100, ALL_SIGNED, [SIGNED_PROOF]),
        event("downloadable", 120.0, 120, DOWNLOADABLE, [SIGNED_PROOF, ALL_SIGNED_PROOF]),
        event("signed", 125.0, 100, SIGNED),
    ]
