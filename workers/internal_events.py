"""Internal events: makes them, and queues each for one action. A key guards them, so that only one process queues each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.records import queue_entry
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import script_calls
from deedbox.shared.redis.script_calls import FiledEvent
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.actions.registry import RegisteredAction

KEY: Final = "deedbox/{}"
"""Ordering key of events that are about Deedbox itself: ``deedbox trace deedbox/alerts`` shows theirs."""


@dataclass(frozen=True, slots=True)
class FilingGuard:
    """The key that decides who files."""

    key: str
    before: str | bytes
    """The value that was read; empty if there was none."""
    value: str | bytes
    life_s: int | None = None
    """None: for good."""


@dataclass(frozen=True, slots=True)
class Filed:
    """One event to file."""

    event_type: str
    source: str
    topic: str
    """Second half of its ordering key."""
    payload: dict[str, Any]


class Filing:
    """Files events of one action."""

    def __init__(
        self, scripts: Scripts, ring: Callable[[str], None], action: RegisteredAction, event_life_s: int
    ) -> None:
        self._scripts = scripts
        self._ring = ring
        self._action = action
        self._event_life_s = event_life_s

    def file(self, guard: FilingGuard, events: Iterable[Filed], now: float) -> bool:
        """File everything, or nothing if the guard's key has another value by now. Raises Unavailable."""
        lanes = script_calls.file_events(
            self._scripts, key=guard.key, before=guard.before, value=guard.value, life_s=guard.life_s,
            event_life_s=self._event_life_s, events=[self._filed(event, now) for event in events],
        )  # fmt: skip
        for lane in lanes or ():
            self._ring(lane.decode())
        return lanes is not None

    def _filed(self, event: Filed, now: float) -> FiledEvent:
        key = KEY.format(event.topic)
        return filed_event(
            self._action, internal_event(event.event_type, event.payload, event.source, key, "", now), now
        )


def filed_event(action: RegisteredAction, stored: StoredEvent, now: float) -> FiledEvent:
    """Address an internal event to one action."""
    entry = queue_entry.dump(QueueEntry(stored.fingerprint, enqueued_at=round(now, 6)))
    unit = action.unit(stored.stream, stored.fingerprint)
    return FiledEvent(action.lane, unit, entry, stored.fingerprint, stored.fields())


def internal_event(
    event_type: str, payload: dict[str, Any], source: str, ordering_key: str, trace_id: str, now: float
) -> StoredEvent:
    """Make an internal event of a key. Its identity is its stream, type and payload."""
    body = json.dumps(payload, separators=(",", ":"), sort_keys=True).encode()
    name = f"internal\0{event_type}\0{source}:{ordering_key}\0".encode()
    digest = hashlib.blake2b(name + body, digest_size=16).hexdigest()
    return StoredEvent(
        fingerprint=digest, source=source, ordering_key=ordering_key, event_type=event_type,
        event_time=int(now), related_signature_id=None, received_at=now, arrived_at=now,
        body_signature=BodySignature.ABSENT, trace_id=trace_id, body_digest=digest, body=body,
        origin=Origin.DEEDBOX,
    )  # fmt: skip
