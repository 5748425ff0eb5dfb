"""The ordering rule: which held events of one ordering key are released now, and when to look again.

Pure: ``step`` takes the state, the arrivals and the time, and returns a ``Decision``. The smallest held event of a key
is *ready* when every predecessor that its own snapshot proves has been seen. It is also ready when it, or a held
event behind it, has waited ``hold_s``. What it waited for is then *given up*: only the first event of a later second waits
for it once more. An event behind the greatest released position is *late*: it is released at once, and does not move it.

An event may be made of an answer of the API, because its callback had not come. It stands for that callback, whenever
that comes. If any callback of its type and signer came before, it is a duplicate.

Snapshots only ever cause waiting, never trust: ``event_hash`` does not sign the body.
"""

from deedbox.shared.core.ordering.memory import EARLIER_S, SAME_S
from deedbox.shared.core.ordering.rule import SPOOL_LOOK_S, pass_through, step
from deedbox.shared.core.ordering.sequence import (
    DAY_S,
    PROOF_HORIZON_S,
    PROOFS_PER_KEY,
    PROOFS_PER_SNAPSHOT,
    Arrival,
    Decision,
    Held,
    OrderingPolicy,
    Position,
    Proof,
    Released,
    SequenceState,
)

__all__ = [
    "DAY_S",
    "EARLIER_S",
    "PROOFS_PER_KEY",
    "PROOFS_PER_SNAPSHOT",
    "PROOF_HORIZON_S",
    "SAME_S",
    "SPOOL_LOOK_S",
    "Arrival",
    "Decision",
    "Held",
    "OrderingPolicy",
    "Position",
    "Proof",
    "Released",
    "SequenceState",
    "pass_through",
    "step",
]
