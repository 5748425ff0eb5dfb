"""A lane: runs actions. Claim heads of queues, call their actions one after the other, commit the outcomes.

Claims are leases. A crash between an effect and its commit runs the call again with the same idempotency key:
effects are at least once, dispatch is once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from structlog.contextvars import bind_contextvars, reset_contextvars

from deedbox.shared.core.attempts import Entry, Failure, after_failure
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.records import queue_entry
from deedbox.shared.records.fields import Unreadable
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import keys
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs, telemetry
from deedbox.workers.actions.interface import Context, Event, Reject, Retry
from deedbox.workers.actions.registry import RegisteredAction, Registry
from deedbox.workers.lanes.batch import Attendant, Batch, Claim, Operand, Outcome
from deedbox.workers.lanes.outcomes import Report, leave, lost
from deedbox.workers.lanes.time_limit import ActionTimeout, time_limit, time_limits
from deedbox.workers.lease import LEASE_S, LINGER_S, NO_CLAIM, Drained
from deedbox.workers.pacing import Gathering

UNKNOWN_ACTION_WAIT_S: Final = 30.0
"""How long an entry waits when this process has no such action: a rolling deploy is under way."""

BATCH_MAX: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of events as they are stored, compressed; each is decompressed for its own call only."""

FAST_CALL_S: Final = 0.001
"""Calls that take no longer than this on average are claimed in growing batches, others one by one."""

COMMIT_EVERY_S: Final = 0.02
"""A crash repeats at most the calls of this span (and the one that runs)."""

START_WITHIN_S: Final = LEASE_S / 2
"""How long after its claim an entry may still be started: well within its lease, by this process's clock."""

RENEW_EVERY_S: Final = LEASE_S / 4
OVERTIME_S: Final = 10.0
"""How long after an action's timeout its lease is still renewed: time for the timeout to unwind the call."""

log = logs.get("lanes")


class LaneRunner:
    """Runs the entries of one lane. One per process; calls run in the main thread, where timeouts reach them."""

    def __init__(
        self,
        lane: str,
        scripts: Scripts,
        registry: Registry,
        ring: Callable[[str], None],
        jitter: Callable[[], float] = random.random,
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> None:
        self._lane = lane
        self._scripts = scripts
        self._registry = registry
        self._ring = ring
        self._jitter = jitter
        self._limits = (retention.state_s, retention.events_s, keys.TIMELINE_KEEP)
        self._attendant = Attendant(self._commit, self._renew)
        self._commits = threading.Lock()
        self._size = 1
        self._clock_offset = 0.0
        self._renewed_at = 0.0
        self._gathering = Gathering()

    def drain(self, drainer: str, go_on: Callable[[], bool]) -> Drained:
        """Claim a batch of entries, call their actions, commit, and so on while ``go_on`` says so. Raises Unavailable."""
        asked_at = time.monotonic()
        reply = self._scripts.call("claim_entries", SERVER_CLOCK, self._lane, *self._claim(drainer))
        batches = 0
        before: set[bytes] = set()
        while reply:
            ring, now, *units = reply
            self._clock_offset = float(now) - time.monotonic()
            if ring:
                # Before the calls, not after: whatever else is ready must not wait for them (isolation).
                self._ring(self._lane)
            batch, asked_for = Batch(_claims(self._lane, units)), self._size
            self._run(batch, asked_at + START_WITHIN_S)
            batches += 1
            if not go_on():
                self._commit(batch)
                return Drained(batches, idle=False)
            names = {unit[0] for unit in units}
            # A key that is there again at once has a backlog of its own: whatever else comes, it need not wait.
            busy_keys, before = not names.isdisjoint(before), names
            if self._gathering.found(0 if busy_keys else len(units), asked_for):
                self._commit(batch)
                self._gathering.pause()
                asked_at = time.monotonic()
                reply = self._scripts.call("claim_entries", SERVER_CLOCK, self._lane, *self._claim(drainer))
            else:
                asked_at = time.monotonic()
                reply = self._commit(batch, self._claim(drainer))
        self._gathering.found(0, self._size)
        return Drained(batches, idle=True)

    def drain_one(self, drainer: str) -> bool:
        """Work off one batch. Returns whether there was one."""
        return self.drain(drainer, lambda: False).units > 0

    def _claim(self, drainer: str) -> Sequence[Operand]:
        return drainer, LEASE_S, LINGER_S + 1, self._size, BATCH_BYTES

    def _run(self, batch: Batch, start_until: float) -> None:
        """Call the actions of a batch. The last outcomes are left for the caller to commit."""
        calls, spent_s, committed_at = 0, 0.0, time.monotonic()
        with self._attendant.attending(batch), time_limits():
            while (claim := _next(batch, start_until)) is not None:
                started = time.monotonic()
                batch.finish(claim, self._outcome(claim))
                ended = time.monotonic()
                calls, spent_s = calls + 1, spent_s + ended - started
                if ended - committed_at >= COMMIT_EVERY_S:
                    self._commit(batch)
                    committed_at = time.monotonic()
        self._size = next_size(self._size, calls, spent_s)

    def _commit(self, batch: Batch, claim: Sequence[Operand] = NO_CLAIM) -> Sequence[Any]:
        """Commit the outcomes so far, and claim what is ready next. Returns the claim.

        Raises Unavailable; the outcomes then stay in the batch.
        """
        # One commit at a time, from collecting to writing: a unit's outcomes must be written in their order.
        with self._commits:
            sections = batch.collect()
            if not (sections or claim[0]):
                return ()
            flat = [operand for section in sections for operand in section]
            try:
                refused, lanes, claimed = self._scripts.call(
                    "finish", SERVER_CLOCK, self._lane, *self._limits, *claim, *flat
                )
            except Unavailable:
                batch.put_back(sections)
                raise
        if refused:
            # A lease was swept while its call ran past the timeout, or the process was paused: another process
            # has the entry now, and its outcome counts.
            log.warning("action.fenced", lane=self._lane, outcomes=refused)
        for lane in lanes:
            self._ring(lane.decode())
        reply: Sequence[Any] = claimed
        return reply

    def _renew(self, claim: Claim, running_s: float) -> None:
        """Renew the lease of the call that runs, never past its action's timeout and some overtime."""
        action = self._registry.get(_action_of(claim))
        now = time.monotonic()
        if (
            action is None
            or running_s > action.timeout_s + OVERTIME_S
            or now - self._renewed_at < RENEW_EVERY_S
        ):
            return
        self._renewed_at = now
        self._scripts.call("renew", SERVER_CLOCK, claim.lane, claim.unit, claim.token, LEASE_S)

    def _outcome(self, claim: Claim) -> Outcome:
        name = _action_of(claim)
        action = self._registry.get(name)
        if action is None:
            log.error("action.unknown", lane=claim.lane, action=name, next_in_s=UNKNOWN_ACTION_WAIT_S)
            return leave(UNKNOWN_ACTION_WAIT_S)
        entry = queue_entry.load(claim.entry_text)
        if not entry:
            return lost(claim, name, "the queue entry cannot be read")
        stored = StoredEvent.load(entry.fingerprint, claim.fields)
        if not stored:
            return lost(claim, name, "the stored event is gone or cannot be read")
        event = event_of(stored, late=entry.late)
        if not event:
            return lost(claim, name, "the stored body cannot be read")
        return self._call(claim, action, entry, stored, event)

    def _call(
        self, claim: Claim, action: RegisteredAction, entry: Entry, stored: StoredEvent, event: Event
    ) -> Outcome:
        context = Context(
            idempotency_key=entry.idempotency_key(action.name),
            attempt=entry.attempt,
            replay=entry.replay > 0,
            retries=entry.retries,
            fruitless=entry.failures + entry.backoffs,
            waiting_since=entry.first_failed_at,
            trace_id=stored.trace_id,
        )
        started = time.monotonic()
        failed, span_id = _traced(action, event, context, stored)
        ended = time.monotonic()
        report = Report(
            claim, action, entry, stored, ended - started, ended + self._clock_offset, self._registry, span_id
        )
        if failed is None:
            return report.done(context)
        failure, error = failed
        asked_s = error.after if isinstance(error, Retry) else None
        verdict = after_failure(entry, failure, action.policy, report.at, self._jitter(), asked_s)
        return report.failed(failure, error, verdict)


def _traced(
    action: RegisteredAction, event: Event, context: Context, stored: StoredEvent
) -> tuple[tuple[Failure, BaseException] | None, str]:
    """Call the action under the callback's trace id, in a span if it has any. Returns the failure and the span's id."""
    # What the action and its libraries log meanwhile carries the trace id too.
    token = bind_contextvars(trace_id=stored.trace_id)
    try:
        spans = telemetry.spans()
        span = None if spans is None else spans.resume("action.call", stored.trace_id, stored.span_id)
        if span is None:
            return _attempt(action, event, context), ""
        with span.running():
            span.set(
                action=action.name, lane=action.lane, event_type=event.type, source=event.source,
                ordering_key=event.ordering_key, attempt=context.attempt, late=event.late,
            )  # fmt: skip
            context.traceparent = span.traceparent
            failed = _attempt(action, event, context)
            if failed is not None:
                span.set(outcome=str(failed[0]))
                if failed[0] is not Failure.RETRY:
                    span.fail(type(failed[1]).__name__)
            return failed, span.span_id
    finally:
        reset_contextvars(**token)


def _attempt(
    action: RegisteredAction, event: Event, context: Context
) -> tuple[Failure, BaseException] | None:
    try:
        with time_limit(action.timeout_s):
            action.function(event, context)
    except Retry as error:
        return Failure.RETRY, error
    except Reject as error:
        return Failure.REJECT, error
    except ActionTimeout as error:
        return Failure.TIMEOUT, error
    except KeyboardInterrupt:  # an impatient operator's second signal, no failure of the action
        raise
    except BaseException as error:  # noqa: BLE001 - sys.exit() in user code must not end the batch, nor loop for ever
        return Failure.ERROR, error
    return None


def next_size(size: int, calls: int, spent_s: float) -> int:
    """Return how many entries to claim next: twice as many while calls are fast and batches full; one if they are slow."""
    if calls and spent_s / calls > FAST_CALL_S:
        return 1
    if calls >= size:
        return min(BATCH_MAX, size * 2)
    return size if calls > size // 2 else max(1, size // 2)


def _next(batch: Batch, start_until: float) -> Claim | None:
    """Start the next entry, unless this process was paused: its leases may be lost, the entries done by others."""
    if time.monotonic() > start_until:
        batch.give_back()
    return batch.take()


def _claims(lane: str, units: Sequence[Sequence[Any]]) -> list[Claim]:
    claims = []
    for unit, token, *rest in units:
        name, fence = unit.decode(), token.decode()
        for entry, fields in zip(rest[::2], rest[1::2], strict=True):
            event = dict(zip(fields[::2], fields[1::2], strict=True))
            claims.append(Claim(lane, name, fence, entry, event))
    return claims


def _action_of(claim: Claim) -> str:
    return claim.unit.partition("|")[0]


def event_of(stored: StoredEvent, *, late: bool) -> Event | Unreadable:
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
        body_signature=str(stored.body_signature),
        payload=payload,
    )
