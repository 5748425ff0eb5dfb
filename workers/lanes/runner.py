"""A lane: runs actions. Claim heads of queues, call their actions one after the other, commit the outcomes.

Claims are leases. A crash between an effect and its commit runs the call again with the same idempotency key:
effects are at least once, dispatch is once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from deedbox.shared import sealing
from deedbox.shared.core.attempts import Failure, QueueEntry, after_failure
from deedbox.shared.core.errors import KeyMissing, Unavailable, Undecodable
from deedbox.shared.records import queue_entry
from deedbox.shared.records.queue_entry import FINGERPRINT_CHARS
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis import data_keys, script_calls
from deedbox.shared.redis.connections import is_of_wrong_type
from deedbox.shared.redis.key_types import suspect
from deedbox.shared.redis.script_calls import NO_CLAIM, DrainClaim
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import Event, Retry
from deedbox.workers.actions.registry import RegisteredAction, Registry
from deedbox.workers.lanes.batch import Attendant, Claim, LaneBatch, Settlement
from deedbox.workers.lanes.calls import ActionCaller
from deedbox.workers.lanes.claims import action_of, claims_of, context_of, event_of, stream_of
from deedbox.workers.lanes.models import Models
from deedbox.workers.lanes.outcomes import OutcomeReport, lost, unopened
from deedbox.workers.lanes.recall import recall
from deedbox.workers.lanes.sizes import next_size
from deedbox.workers.lanes.time_limit import ActionTimeout, time_limits
from deedbox.workers.lanes.watchdog import CallGuard
from deedbox.workers.lease import LEASE_S, LINGER_S, LeaseReport
from deedbox.workers.pacing import Gathering

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Of events as they are stored, compressed; each is decompressed for its own call only."""

COMMIT_EVERY_S: Final = 0.02
"""A crash repeats at most the calls of this span (and the one that runs)."""

START_WITHIN_S: Final = 1.0
"""How long after its claim an entry may still be started, by this process's clock: a call that began so late and keeps
the interpreter (``watchdog``) is gone before its lease ends."""

RENEW_EVERY_S: Final = LEASE_S / 4
OVERTIME_S: Final = 5.0
"""How long after its timeout a call may take to unwind. Then it counts as timed out, and its process ends: a thread in C
code, a thread pool that joins a hung thread or a bare ``except`` can be ended in no other way."""

log = logs.get("lanes")
hops = logs.HopLog("outcomes", "action.finished")


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
        guard: CallGuard | None = None,
    ) -> None:
        self._lane = lane
        self._scripts = scripts
        self._registry = registry
        self._actions = registry.actions_of(lane)
        self._keepers = frozenset(each.name for each in registry.actions if each.keeps_model)
        self._ring = ring
        self._jitter = jitter
        self._retention = retention
        self._guard = guard or CallGuard()
        self._caller = ActionCaller()
        self._at_work: tuple[Claim, QueueEntry, StoredEvent] | None = None
        """What was called last; for the attendant."""
        self._attendant = Attendant(self._attend)
        self._commits = threading.Lock()
        self._lines: list[Mapping[str, Any]] = []
        """Of the log, of what is committed: written together, as a busy key commits each call by itself."""
        self._size = 1
        self._clock_offset = 0.0
        self._renewed_at = 0.0
        self._gathering = Gathering()
        self._keys = data_keys.NONE
        self._models = Models(scripts.redis, self._keys)

    def drain(self, drainer: str, go_on: Callable[[], bool]) -> LeaseReport:
        """Claim a batch of entries, call their actions, commit, and so on while ``go_on`` says so. Raises Unavailable."""
        asked_at = time.monotonic()
        reply = self._claim(drainer)
        batches = 0
        before: set[bytes] = set()
        while reply:
            ring, now, *units = reply
            self._clock_offset = float(now) - time.monotonic()
            if ring:
                # Before the calls, not after: whatever else is ready must not wait for them (isolation).
                self._ring(self._lane)
            # What only changes models comes first: it need not wait for the commits that effects of a busy key need.
            claims, asked_for = sorted(claims_of(self._lane, units), key=self._has_effect), self._size
            streams = (stream_of(claim.unit) for claim in claims)
            self._keys = data_keys.ensure(self._scripts, streams, self._retention.state_s)
            changing = dict.fromkeys(claim.unit for claim in claims if not self._has_effect(claim))
            self._models = Models.read(self._scripts, self._keys, list(changing))
            batch = LaneBatch(claims, self._guard.ledger, asked_at + START_WITHIN_S)
            self._run(batch)
            batches += 1
            if not go_on():
                self._commit(batch)
                return LeaseReport(batches, idle=False)
            names = {unit[0] for unit in units}
            # A key that is there again at once has its own backlog: whatever else comes, it need not wait.
            busy_keys, before = not names.isdisjoint(before), names
            if self._gathering.found(0 if busy_keys else len(claims), asked_for):
                self._commit(batch)
                self._gathering.pause()
                asked_at = time.monotonic()
                reply = self._claim(drainer)
            else:
                asked_at = time.monotonic()
                reply = self._commit(batch, self._wanted(drainer))
        self._gathering.found(0, self._size)
        return LeaseReport(batches, idle=True)

    def drain_one(self, drainer: str) -> bool:
        """Work off one batch. Returns whether there was one."""
        return self.drain(drainer, lambda: False).units > 0

    def _has_effect(self, claim: Claim) -> bool:
        return action_of(claim) not in self._keepers

    def _wanted(self, drainer: str) -> DrainClaim:
        return DrainClaim(drainer, LEASE_S, LINGER_S + 1, self._size, BATCH_BYTES)

    def _claim(self, drainer: str) -> Sequence[Any]:
        claim = self._wanted(drainer)
        return script_calls.claim_entries(self._scripts, lane=self._lane, claim=claim, actions=self._actions)

    def _run(self, batch: LaneBatch) -> None:
        """Call the actions of a batch. The last outcomes are left for the caller to commit."""
        calls, spent_s, committed_at = 0, 0.0, time.monotonic()
        with self._guard.watching(), self._attendant.attending(batch), time_limits():
            while (claim := self._next(batch)) is not None:
                started = time.monotonic()
                batch.finish(claim, self._outcome(claim))
                ended = time.monotonic()
                calls, spent_s = calls + 1, spent_s + ended - started
                if ended - committed_at >= COMMIT_EVERY_S:
                    self._commit(batch)
                    committed_at = time.monotonic()
        self._size = next_size(self._size, calls, spent_s)

    def _next(self, batch: LaneBatch) -> Claim | None:
        """Start the next entry of a batch. A crash must not repeat an earlier event of a key after a later one."""
        if batch.must_commit():
            with self._commits:
                self._write(batch)
        return batch.take()

    def _commit(self, batch: LaneBatch, claim: DrainClaim = NO_CLAIM) -> Sequence[Any]:
        """Commit the outcomes so far, and claim what is ready next. Returns the claim.

        Raises Unavailable; the outcomes then stay in the batch.
        """
        # One commit at a time, from collecting to writing: a unit's outcomes must be written in their order.
        with self._commits:
            claimed = self._write(batch, claim)
            self._tell()
            return claimed

    def _tell(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            hops.write(lines)

    def _write(self, batch: LaneBatch, claim: DrainClaim = NO_CLAIM) -> Sequence[Any]:
        sections = batch.collect()
        if not (sections or claim.drainer):
            return ()
        flat = [operand for section in sections for operand in section.commit.operands()]
        changes = self._models.changes(sections)
        flat += changes.operations.operands()
        try:
            refused, lanes, claimed, over = script_calls.finish(
                self._scripts, lane=self._lane, retention=self._retention, claim=claim, actions=self._actions,
                operations=flat,
            )  # fmt: skip
        except Unavailable:
            batch.put_back(sections)
            raise
        self._lines += [section.line for section in sections if section.line is not None]
        ended = {unit.decode() for unit in over}
        batch.drop(ended)
        self._models.committed(changes, ended)
        if refused:
            # A lease was swept while this process was paused: another process has the entry now, and its outcome counts.
            log.warning("action.fenced", lane=self._lane, outcomes=refused)
        for lane in lanes:
            self._ring(lane.decode())
        return claimed

    def _attend(self, batch: LaneBatch, claim: Claim, running_s: float) -> None:
        """Do what a slow call needs: commit what is done, renew the lease, and end the process of one that does not end."""
        action = self._registry.get(action_of(claim))
        if action is not None and running_s > action.timeout_s + OVERTIME_S:
            if self._at_work is not None and self._at_work[0] is claim:
                self._give_up(batch, claim, self._overdue(action, *self._at_work, running_s))
            return
        self._commit(batch)
        now = time.monotonic()
        if action is not None and now - self._renewed_at >= RENEW_EVERY_S:
            self._renewed_at = now
            script_calls.renew(self._scripts, unit=claim.unit, token=claim.token, lease_s=LEASE_S)

    def _overdue(
        self, action: RegisteredAction, claim: Claim, entry: QueueEntry, stored: StoredEvent, running_s: float
    ) -> Settlement:
        told = f"the call did not end within {OVERTIME_S:g} s after its limit of {action.timeout_s:g} s; its process ended itself"
        error = ActionTimeout(action.timeout_s, told).with_traceback(self._caller.standing())
        at = time.monotonic() + self._clock_offset
        report = OutcomeReport(claim, action, entry, stored, running_s, at, self._registry, keys=self._keys)
        verdict = after_failure(entry, Failure.TIMEOUT, action.policy, at, self._jitter())
        return report.failed(Failure.TIMEOUT, error, verdict)

    def _give_up(self, batch: LaneBatch, claim: Claim, outcome: Settlement) -> None:
        """Commit an outcome for a call that does not end, and end the process with it."""
        # Under the lock, so that a main thread that comes back after all neither commits nor claims any more.
        with self._commits:
            if not batch.overrule(claim, outcome):
                return
            try:
                self._write(batch)
                self._tell()
            finally:
                self._guard.end()

    def at_work(self) -> tuple[str, str, float] | None:
        """Return what runs: its action, the fingerprint of its event, and for how long."""
        batch = self._attendant.current()
        running = batch.running() if batch is not None else None
        if running is None:
            return None
        claim, running_s = running
        return action_of(claim), claim.entry_text[:FINGERPRINT_CHARS].decode("ascii", "replace"), running_s

    def leave(self) -> None:
        """Give back what runs and what waits, for a process that is about to end: another one starts it at once."""
        batch = self._attendant.current()
        running = batch.running() if batch is not None else None
        if batch is None:
            return
        batch.give_back()
        if running is not None:
            log.warning(
                "action.interrupted",
                lane=self._lane,
                action=action_of(running[0]),
                after_s=round(running[1], 1),
            )
            batch.overrule(running[0], Settlement("back", 0))
        self._commit(batch)

    def _outcome(self, claim: Claim) -> Settlement:
        name = action_of(claim)
        action = self._registry.get(name)
        if action is None:  # it claims for actions of its registry only
            raise LookupError(name)
        entry = queue_entry.load(claim.entry_text)
        if not entry:
            return lost(claim, name, "the queue entry cannot be read")
        stored = StoredEvent.unpack(entry.fingerprint, claim.head, claim.body)
        if not stored:
            return lost(claim, name, "the stored event is gone or cannot be read")
        try:
            stored = self._opened(stored)
        except KeyMissing as error:
            return unopened(claim, name, stored, error)
        except Undecodable as error:
            return lost(claim, name, str(error))
        entry = entry.begun(time.monotonic() + self._clock_offset)
        event = event_of(stored, late=entry.late, recall=partial(recall, self._scripts.redis, stored.stream))
        if not event:
            return lost(claim, name, "the stored body cannot be read")
        return self._call(claim, action, entry, stored, event)

    def _opened(self, stored: StoredEvent) -> StoredEvent:
        """Return the event with its body as it came. Raises KeyMissing, Undecodable, Unavailable."""
        if sealing.ring() is None:
            return data_keys.opened(self._scripts.redis, stored)[0] if stored.is_sealed else stored
        if (error := self._keys.missing.get(stored.stream)) is not None:
            raise error  # even of a body that is not encrypted: what the call leads to could not be
        return self._keys.opened(stored)

    def _call(
        self, claim: Claim, action: RegisteredAction, entry: QueueEntry, stored: StoredEvent, event: Event
    ) -> Settlement:
        context = context_of(entry, action.name, stored.trace_id, partial(self._models.of, claim.unit))
        self._at_work = (claim, entry, stored)
        started = time.monotonic()
        failed, span_id = self._caller.traced(action, event, context, stored)
        ended = time.monotonic()
        report = OutcomeReport(
            claim,
            action,
            entry,
            stored,
            ended - started,
            ended + self._clock_offset,
            self._registry,
            span_id,
            self._keys,
        )
        if failed is None:
            outcome = report.done(context)
            self._models.follow(claim.unit, outcome.change)
            return outcome
        failure, error = failed
        if failure is Failure.TIMEOUT:
            # It may have come between a command and its answer: that answer must not be read as another command's.
            self._scripts.redis.connection_pool.disconnect(inuse_connections=False)
        if is_of_wrong_type(error):
            suspect(self._scripts.redis)
        asked_s = error.after if isinstance(error, Retry) else None
        verdict = after_failure(entry, failure, action.policy, report.at, self._jitter(), asked_s)
        return report.failed(failure, error, verdict)
