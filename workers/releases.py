"""The sequencer's decisions as the operations of its one commit (``release.lua``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.core import jsontext
from shared.core.attempts import Entry
from shared.core.envelope import decode_inbox, encode_kombu
from shared.core.errors import Undecodable
from shared.core.ordering import Arrival, Decision
from shared.core.reasons import Arrival as Outcome
from shared.core.reasons import DeathReason
from shared.core.reasons import Entry as Kind
from shared.stored import ASIDE
from workers.actions.registry import Registry
from workers.arrivals import Delivered, StreamWork
from workers.clean_stream import clean_stream_entry

Operand = str | bytes | float
Operation = list[Operand]


def release_operations(
    registry: Registry, stream: str, work: StreamWork, decision: Decision, now: float
) -> Iterable[Operation]:
    """Dispatch what a decision released, to the queues of every action that wants it."""
    was_held = {held.arrival.fingerprint for held in work.state.held}
    in_vain = {proof.name for proof in decision.given_up}
    for released in decision.release:
        fingerprint = released.arrival.fingerprint
        if fingerprint in was_held:
            yield ["R", fingerprint]
            expired = any(proof.name in in_vain for proof in released.arrival.proofs)
            yield ["C", "hold_expired" if expired else "hold_satisfied", 1]
        entry = Entry(fingerprint, enqueued_at=round(now, 6), late=released.late).pack()
        for action in registry.subscribed(released.arrival.type):
            yield ["Q", action.lane, action.unit(stream, fingerprint), entry]
        position = released.arrival.position
        yield from clean_stream_entry(
            registry,
            fingerprint,
            released.arrival.type,
            position.time,
            position.signature,
            late=released.late,
        )
        kind = Kind.LATE if released.late else Kind.RELEASED
        waited_s = max(0.0, now - released.since)
        yield _line(kind, now, released.arrival, position=list(released.arrival.position), waited_s=waited_s)
        yield ["C", str(Outcome.LATE if released.late else Outcome.RELEASED), 1]
    if decision.given_up:
        yield ["C", "given_up", len(decision.given_up)]


def gap_operations(stream: str, decision: Decision, after_s: float) -> Iterable[Operation]:
    """Ask for a look for gaps where something may be missing later: the document, or what was given up.

    Rare events only, because each asks for one more write.
    """
    if not stream.partition(":")[2].startswith("signature_request/"):
        return
    if decision.given_up or any(released.arrival.type in _FINAL for released in decision.release):
        yield ["G", after_s]


_FINAL = frozenset({"signature_request_all_signed", "signature_request_downloadable"})


def undecodable(entry: bytes, error: Exception) -> Iterable[Operation]:
    """Set an entry of the inbox aside that this version cannot read."""
    raw = _as_message(entry)
    yield _dead([("reason", DeathReason.UNDECODABLE), ("detail", str(error)), ("raw", raw)])
    yield ["C", "quarantined", 1]


def arrival_operations(
    work: StreamWork, fresh: Sequence[Delivered], decision: Decision
) -> Iterable[Operation]:
    """Record each arrival: a new fact with its body, a hold, a duplicate, or a conflicting body."""
    held_now = {held.arrival.fingerprint: held for held in decision.state.held}
    first: dict[str, str] = dict(work.known_digests)
    for each in fresh:
        fingerprint, stored = each.fact.fingerprint, each.stored
        yield _arrived(each)
        yield ["C", "arrived", 1]
        yield ["C", f"body_signature_{stored.body_signature}", 1]
        known = first.get(fingerprint)
        if known is None:
            first[fingerprint] = each.fact.body_digest
            fields = stored.fields()
            yield ["F", fingerprint, stored.arrived_at, len(fields), *fields]
            if fingerprint in held_now:
                yield ["H", fingerprint, stored.arrived_at]
                yield _line(Kind.HELD, stored.arrived_at, each.arrival, waits_for=_waits_for(each, decision))
                yield ["C", str(Outcome.HELD), 1]
            continue
        yield ["C", str(Outcome.DUPLICATE), 1]
        if known in {"", each.fact.body_digest}:
            yield _line(Kind.DUPLICATE, stored.arrived_at, each.arrival)
            continue
        # Another body of the same fact is kept under an id of its own, for an operator to compare or apply.
        other = stored.body_digest
        fields = stored.fields()
        yield ["B", f"{fingerprint}:{other}", stored.arrived_at, len(fields), *fields]
        yield _line(Kind.CONFLICT, stored.arrived_at, each.arrival, body=other)
        yield ["C", str(Outcome.CONFLICT), 1]


def _waits_for(each: Delivered, decision: Decision) -> list[str]:
    satisfied = decision.state.satisfied
    return [proof.name for proof in each.arrival.proofs if proof.name not in satisfied]


def _arrived(each: Delivered) -> Operation:
    stored = each.stored
    return _line(
        Kind.ARRIVED,
        stored.arrived_at,
        each.arrival,
        event_time=stored.event_time,
        received_at=stored.received_at,
        body_signature=str(stored.body_signature),
        trace_id=stored.trace_id,
    )


def _line(kind: Kind, at: float, arrival: Arrival, **details: Any) -> Operation:
    row = {
        "at": round(at, 6),
        "kind": str(kind),
        "type": arrival.type,
        "event": arrival.fingerprint,
        **details,
    }
    return ["T", jsontext.dumps(row)]


def too_old(each: Delivered) -> Iterable[Operation]:
    """Set an event aside that was too old when it was received."""
    stored = each.stored
    # Marked, because a replay must leave alone what was never dispatched: a redrive makes it a fact of its own.
    fields = [*stored.fields(), ASIDE, str(DeathReason.TOO_OLD)]
    yield _arrived(each)
    yield ["F", stored.fingerprint, stored.arrived_at, len(fields), *fields]
    yield ["C", "arrived", 1]
    yield ["C", f"body_signature_{stored.body_signature}", 1]
    yield ["C", str(Outcome.TOO_OLD), 1]
    yield _line(Kind.DEAD, stored.arrived_at, each.arrival, reason=str(DeathReason.TOO_OLD))
    yield _dead(
        [
            ("reason", DeathReason.TOO_OLD),
            ("detail", "the event was older than DEEDBOX_MAX_EVENT_AGE_S when it was received"),
            ("source", stored.source),
            ("key", stored.ordering_key),
            ("type", stored.event_type),
            ("event", stored.fingerprint),
            ("trace_id", stored.trace_id),
        ]
    )


def _as_message(entry: bytes) -> bytes:
    """Give an entry the form of a broker message, which is what a redrive hands to the bridge."""
    try:
        envelope = decode_inbox(entry)[1]
    except Undecodable:
        return encode_kombu({}, entry)
    return encode_kombu(envelope.headers(), envelope.body)


def _dead(fields: Sequence[tuple[str, str | bytes]]) -> Operation:
    values = [value for pair in fields for value in pair]
    return ["D", len(values), *values]
