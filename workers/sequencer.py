"""The sequencer: drains shards of the inbox, deduplicates, restores order, and releases to the actions' queues.

A lease, about 2 s of one RQ job: claim a shard, read a batch, load the streams' states, ``step`` each, commit
everything in one script call that checks the lease. It decides nothing itself (``shared.core.ordering``
does) and runs no user code. A crash anywhere before the commit changes nothing; after it, everything is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import RedisError

from shared import keys, logs
from shared.connections import translated
from shared.core.attempts import Entry
from shared.core.callback import parse_callback
from shared.core.envelope import Envelope, decode_inbox, encode_kombu
from shared.core.errors import BadCallback, Undecodable
from shared.core.identity import Fact, identify
from shared.core.ordering import (
    Arrival,
    Decision,
    OrderingPolicy,
    SequenceState,
    arrival_of,
    pass_through,
    step,
)
from shared.core.reasons import Arrival as Outcome
from shared.core.reasons import DeathReason
from shared.core.reasons import Entry as Kind
from shared.scripting import SERVER_CLOCK, Scripts
from shared.stored import StoredEvent
from workers.actions.registry import Registry
from workers.lease import LEASE_S, LINGER_S

BATCH: Final = 250
"""Callbacks of one commit: large enough that round trips cost little, small enough (about 1 MB) that one
script call does not stall Redis for longer than some ms."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""A batch ends here, whatever its count: bodies may be as large as DEEDBOX_BODY_MAX_BYTES."""

log = logs.get("sequencer")

Operand = str | bytes | float
Operation = list[Operand]


@dataclass(frozen=True, slots=True)
class SequencerPolicy:
    """How the sequencer treats arrivals."""

    order: OrderingPolicy = OrderingPolicy()
    max_event_age_s: float = 0.0
    """An event older than this at receipt is dead-lettered; 0: never."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one claim returned."""

    shard: str
    token: str
    now: float
    entries: list[bytes]
    due: list[str]
    """Streams whose holds may be over."""
    more: bool = False
    """Whether entries stay in the shard behind these."""

    @property
    def judged_at(self) -> float:
        """Time at which holds are judged. With a backlog behind this batch: when its last callback was appended.

        What a held event waits for may lie in the backlog; judged by the clock on the wall, an hour's backlog
        would be released as expired.
        """
        if not (self.more and self.entries):
            return self.now
        try:
            return min(self.now, decode_inbox(self.entries[-1])[0])
        except Undecodable:
            return self.now


@dataclass(slots=True)
class Delivered:
    """One callback of the batch, identified."""

    fact: Fact
    arrival: Arrival
    stored: StoredEvent
    redriven: bool = False
    """An operator sent it again: it is a fact of its own, and its age does not matter."""


@dataclass(slots=True)
class StreamWork:
    """Everything that one commit needs to know about one stream."""

    ordered: bool = True
    delivered: list[Delivered] = field(default_factory=list)
    state: SequenceState = field(default_factory=SequenceState)
    known_digests: dict[str, str] = field(default_factory=dict)
    """Fingerprint -> body digest ('' if the event is gone), for arrivals that were seen before."""


class Sequencer:
    """Drains shards. One per process."""

    def __init__(
        self, scripts: Scripts, registry: Registry, policy: SequencerPolicy, ring: Callable[[str], None]
    ) -> None:
        self._scripts = scripts
        self._ring = ring
        self._redis = scripts.redis
        self._registry = registry
        self._policy = policy

    def drain_one(self, drainer: str) -> bool:
        """Claim one shard and commit one batch of it. Returns whether there was one."""
        reply = self._scripts.call(
            "claim_shard", SERVER_CLOCK, drainer, LEASE_S, LINGER_S + 1, BATCH, BATCH_BYTES
        )
        if not reply:
            return False
        shard, token, ring, now, entries, due, behind = reply
        if ring:
            self._ring(keys.SEQUENCER)
        streams = [stream.decode() for stream in due]
        batch = Batch(shard.decode(), token.decode(), float(now), entries, streams, more=behind > 0)
        for lane in self.commit(batch):
            self._ring(lane)
        return True

    def commit(self, batch: Batch) -> tuple[str, ...]:
        """Decide about a batch and write the decision. Returns the lanes to ring."""
        streams, operations = self._identify(batch)
        spooled_since = self._load(streams)
        for stream, work in streams.items():
            operations.extend(self._decide(stream, work, batch, spooled_since))
        head: Operation = [SERVER_CLOCK, batch.shard, batch.token, len(batch.entries)]
        limits: Operation = [keys.ORDER_TTL_S, keys.EVENT_TTL_S, keys.TIMELINE_KEEP]
        flat = [operand for operation in operations for operand in operation]
        reply = self._scripts.call("release", *head, *limits, *flat)
        if not reply[0]:
            # Another process took the shard over after this one was paused for longer than its lease.
            log.warning("sequencer.fenced", shard=batch.shard)
            return ()
        log.debug("sequencer.released", shard=batch.shard, callbacks=len(batch.entries), streams=len(streams))
        return tuple(lane.decode() for lane in reply[1:])

    def _identify(self, batch: Batch) -> tuple[dict[str, StreamWork], list[Operation]]:
        """Group the batch by stream. What cannot be decoded becomes a dead letter: it never wedges the shard."""
        streams: dict[str, StreamWork] = {}
        operations: list[Operation] = []
        for stream in batch.due:
            streams[stream] = StreamWork()
        for entry in batch.entries:
            try:
                appended_at, envelope = decode_inbox(entry)
                delivered = _delivered(envelope, appended_at)
            except (Undecodable, BadCallback, RecursionError) as error:
                raw = _as_message(entry)
                operations.append(
                    _dead([("reason", DeathReason.UNDECODABLE), ("detail", str(error)), ("raw", raw)])
                )
                operations.append(["C", "quarantined", 1])
                continue
            work = streams.setdefault(delivered.fact.stream, StreamWork())
            work.ordered = delivered.fact.key.ordered
            work.delivered.append(delivered)
        return streams, operations

    def _load(self, streams: dict[str, StreamWork]) -> float | None:
        """Read every stream's state and dedupe memory in one round trip, and digests of repeats in another.

        Returns since when some host's spool holds callbacks, if any does.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hvals(keys.SPOOLS)
        for stream, work in streams.items():
            pipeline.get(keys.order(stream))
            fingerprints = [each.fact.fingerprint for each in work.delivered]
            if fingerprints:
                pipeline.zmscore(keys.seen(stream), fingerprints)
        try:
            replies = iter(pipeline.execute())
        except RedisError as error:
            raise translated(error) from error
        spooled_since = oldest_spooled(next(replies))
        repeats: list[tuple[StreamWork, str]] = []
        for work in streams.values():
            document = next(replies)
            if document:
                work.state = SequenceState.load(json.loads(document))
            scores = next(replies) if work.delivered else []
            repeats += [
                (work, each.fact.fingerprint)
                for each, score in zip(work.delivered, scores, strict=True)
                if score is not None
            ]
        self._load_digests(repeats)
        return spooled_since

    def _load_digests(self, repeats: Sequence[tuple[StreamWork, str]]) -> None:
        if not repeats:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for _, fingerprint in repeats:
            pipeline.hget(keys.event(fingerprint), "digest")
        try:
            digests = pipeline.execute()
        except RedisError as error:
            raise translated(error) from error
        for (work, fingerprint), digest in zip(repeats, digests, strict=True):
            work.known_digests[fingerprint] = digest.decode() if digest else ""

    def _decide(
        self, stream: str, work: StreamWork, batch: Batch, spooled_since: float | None
    ) -> Iterable[Operation]:
        """Turn one stream's decision into the operations of the commit."""
        fresh, refused = self._split_by_age(work)
        arrivals = [(each.arrival, each.stored.arrived_at) for each in fresh]
        if work.ordered:
            decision = step(
                work.state, arrivals, batch.judged_at, self._policy.order, work.known_digests, spooled_since
            )
            state = json.dumps(decision.state.dump(), separators=(",", ":"))
        else:
            decision = pass_through(arrivals, work.known_digests)
            state = ""
        yield ["S", stream, state, "" if decision.wake_at is None else f"{decision.wake_at:.6f}"]
        for each in refused:
            yield from _too_old(each)
        yield from _arrival_operations(work, fresh, decision)
        yield from self._release_operations(stream, work, decision, batch.now)

    def _split_by_age(self, work: StreamWork) -> tuple[list[Delivered], list[Delivered]]:
        """Part the arrivals that are too old. Repeats of known facts go on: they end as duplicates."""
        limit = self._policy.max_event_age_s
        fresh: list[Delivered] = []
        old: dict[str, Delivered] = {}
        for each in work.delivered:
            known = each.fact.fingerprint in work.known_digests
            age_s = each.stored.received_at - each.stored.event_time
            if limit and not known and not each.redriven and age_s > limit:
                old[each.fact.fingerprint] = each
                work.known_digests[each.fact.fingerprint] = each.fact.body_digest
            else:
                fresh.append(each)
        return fresh, list(old.values())

    def _release_operations(
        self, stream: str, work: StreamWork, decision: Decision, now: float
    ) -> Iterable[Operation]:
        was_held = {held.arrival.fingerprint for held in work.state.held}
        for released in decision.release:
            fingerprint = released.arrival.fingerprint
            if fingerprint in was_held:
                yield ["R", fingerprint]
            entry = Entry(fingerprint, enqueued_at=round(now, 6), late=released.late).pack()
            for action in self._registry.subscribed(released.arrival.type):
                yield ["Q", action.lane, action.unit(stream, fingerprint), entry]
            kind = Kind.LATE if released.late else Kind.RELEASED
            waited_s = max(0.0, now - released.since)
            yield _line(
                kind, now, released.arrival, position=list(released.arrival.position), waited_s=waited_s
            )
            yield ["C", str(Outcome.LATE if released.late else Outcome.RELEASED), 1]
        if decision.given_up:
            yield ["C", "given_up", len(decision.given_up)]


def oldest_spooled(watermarks: Iterable[bytes]) -> float | None:
    """Return the time of receipt (unix seconds) of the oldest callback that any ingress host has in its spool.

    A host that vanished with its spool holds nothing up for long: ``hold_max_s`` bounds every hold.
    """
    oldest = [json.loads(mark).get("oldest_received_at") for mark in watermarks]
    return min((at for at in oldest if at is not None), default=None)


def _delivered(envelope: Envelope, appended_at: float) -> Delivered:
    callback = parse_callback(envelope.body)
    fact = identify(envelope.source, callback, envelope.redrive)
    arrival = arrival_of(
        callback.event_type,
        callback.event_time,
        callback.related_signature_id,
        fact.fingerprint,
        callback.payload,
    )
    stored = StoredEvent(
        fingerprint=fact.fingerprint,
        source=envelope.source,
        ordering_key=str(fact.key),
        event_type=callback.event_type,
        event_time=callback.event_time,
        related_signature_id=callback.related_signature_id,
        received_at=envelope.received_at,
        arrived_at=appended_at,
        body_signature=envelope.body_signature,
        trace_id=envelope.trace_id,
        body_digest=fact.body_digest,
        body=envelope.body,
    )
    return Delivered(fact, arrival, stored, redriven=bool(envelope.redrive))


def _arrival_operations(
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
    return ["T", json.dumps(row, separators=(",", ":"))]


def _too_old(each: Delivered) -> Iterable[Operation]:
    stored = each.stored
    fields = stored.fields()
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
