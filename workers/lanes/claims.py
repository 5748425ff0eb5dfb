"""What a claim brings: entries with their tokens, and the events that actions see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.workers.actions.interface import Context, Event, Recall
from deedbox.workers.lanes.batch import Claim


def claims_of(lane: str, units: Sequence[Sequence[Any]]) -> list[Claim]:
    """Return the claims of a script's reply, in the order in which they are to run: the units take turns."""
    rounds: list[list[Claim]] = []
    for unit, token, *rest in units:
        name, fence = unit.decode(), token.decode()
        for number, each in enumerate(zip(rest[::3], rest[1::3], rest[2::3], strict=True)):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(Claim(lane, name, fence, *each))
    return [claim for each in rounds for claim in each]


def action_of(claim: Claim) -> str:
    """Return the name of a claim's action."""
    return claim.unit.partition("|")[0]


def stream_of(unit: str) -> str:
    """Return the stream of a unit."""
    return unit.split("|")[1]


def context_of(
    entry: QueueEntry, action: str, trace_id: str = "", model: Callable[[], Mapping[str, Any]] = dict
) -> Context:
    """Return the circumstances of an entry's next call. ``model`` finds the read model, if the action keeps it."""
    return Context(
        idempotency_key=entry.idempotency_key(action),
        attempt=entry.attempt,
        replay=entry.replay > 0,
        retries=entry.retries,
        fruitless=entry.failures + entry.backoffs,
        waiting_since=entry.first_failed_at,
        trace_id=trace_id,
        _model=model,
    )


def event_of(stored: StoredEvent, *, late: bool, recall: Recall | None = None) -> Event | Unreadable:
    """Build what an action sees from the stored event; Unreadable if its body is damaged."""
    payload = stored.payload()
    if isinstance(payload, Unreadable):
        return payload
    request = payload.get("signature_request")
    request = request if isinstance(request, dict) else {}
    kind, _, identifier = stored.ordering_key.partition("/")
    received_id = request.get("signature_request_id")
    request_id = received_id if isinstance(received_id, str) and received_id else identifier
    return Event(
        type=stored.event_type,
        time=stored.event_time,
        received_at=stored.received_at,
        source=stored.source,
        ordering_key=stored.ordering_key,
        signature_request_id=request_id if kind == "signature_request" else None,
        related_signature_id=stored.related_signature_id,
        test_mode=request.get("test_mode") in (True, 1, "1"),
        late=late,
        body_signature=stored.body_signature.value,
        trust=stored.trust.word,
        payload=payload,
        origin=stored.origin.value,
        recall=recall,
    )
