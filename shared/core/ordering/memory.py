"""What has come of one key, and what has not: which proofs are open, and what stands for what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from deedbox.shared.core.ordering.sequence import (
    DAY_S,
    PER_SIGNATURE,
    PREFIX,
    PROOFS_PER_KEY,
    Arrival,
    Held,
    Proof,
    SequenceState,
)
from deedbox.shared.core.signature import Origin

SAME_S: Final[Mapping[str, float]] = {
    PREFIX + "sent": 3600.0,
    PREFIX + "viewed": 60.0,
    PREFIX + "downloadable": float(DAY_S),
}
"""Types that may happen again: a callback up to so many seconds after the time that the API shows is of the same event.
`sent` comes when the conversion is over, after `created_at`; for `downloadable` the API shows no time, and the last
signature's counts. Every other type that is made of the API happens once for a signer, whatever the times are."""

EARLIER_S: Final = 60.0  # the same for a callback that is earlier


_REMEMBERED: Final = PER_SIGNATURE | {
    PREFIX + each for each in ("sent", "all_signed", "declined", "expired", "downloadable")
}
"""Types of which a snapshot or the API can prove that they happened: whether one came is remembered."""


class SequenceMemory:
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
        second = proof.time if proof.type in PER_SIGNATURE else self.given_up[proof.name]
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
