"""Every form that is stored, and what becomes of a value that cannot be read. ``docs/wire.md`` has the same table.

No stored value may stop a process or a shard, whoever wrote it: each ``load`` takes any bytes, and returns
``Unreadable`` instead of raising.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deedbox.shared.records import order_state, queue_entry, spool_mark


@dataclass(frozen=True, slots=True)
class Form:
    """One stored form."""

    name: str
    where: str
    """Its key, as the keyspace table of ``deedbox.shared.redis.keys`` has it."""
    policy: str
    """What becomes of a value that cannot be read, as a sentence."""
    load: Callable[[bytes], object]


FORMS: Final = (
    Form(
        order_state.FORM,
        "order:<stream>",
        "The stream is isolated: what arrives, and what was held, becomes dead letters `state_unreadable`.",
        order_state.load,
    ),
    Form(
        queue_entry.FORM,
        "queue:<unit>",
        "The entry becomes a dead letter `event_missing`; the queue goes on.",
        queue_entry.load,
    ),
    Form(
        spool_mark.FORM,
        "spools",
        "It counts for nothing: no hold waits for that host. `status` and an alert say so.",
        spool_mark.load,
    ),
)
