"""``python -m deedbox.workers call``: people use ``deedbox call``. Runs one action on a stored event, in the foreground."""

from __future__ import annotations

import json
import pdb  # noqa: T100 - the command is for debugging
import re
import sys
import time
import traceback
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from redis import Redis

from deedbox.shared.archives import reading as archives
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.command_options import CallOptions
from deedbox.shared.core.attempts import Failure, QueueEntry
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.core.routing import DEFAULT_RANK, RANKS
from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.records.stored_event import FIELDS, StoredEvent, present
from deedbox.shared.redis import data_keys, keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.script_calls import NO_CLAIM
from deedbox.shared.runtime import logs
from deedbox.workers.actions.interface import Context
from deedbox.workers.actions.registry import RegisteredAction
from deedbox.workers.commands.asking import audited
from deedbox.workers.commit import Commit
from deedbox.workers.lanes.batch import Claim, Section, Settlement
from deedbox.workers.lanes.calls import ActionCaller
from deedbox.workers.lanes.claims import context_of, event_of
from deedbox.workers.lanes.models import Models
from deedbox.workers.lanes.outcomes import OutcomeReport
from deedbox.workers.lanes.recall import recall, stored_events
from deedbox.workers.lanes.time_limit import time_limits
from deedbox.workers.lease import LEASE_S

if TYPE_CHECKING:
    from deedbox.workers.process import Process

NO_LIMIT_S: Final = 86_400.0
"""A person in a debugger takes their time."""

PIECE: Final = 1000
"""Entries of the clean stream of one round trip. All of them are 100,000 by default: about a second, for a person who waits."""

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def run(process: Process, options: CallOptions) -> int:
    """Run the action. Returns the exit code: 1 if the call is not done. Raises DeedboxError."""
    action = process.registry.get(options.action)
    if action is None:
        names = ", ".join(each.name for each in process.registry.actions) or "none"
        raise SettingsError(f"There is no action {options.action}; --action is one of {names}.")
    logs.show_application(process.settings.actions)
    stored = _found(process, options, action)
    event = event_of(stored, late=False, recall=partial(recall, process.redis, stored.stream))
    if not event:
        raise DeedboxError("The stored event cannot be read.")
    entry = QueueEntry(stored.fingerprint, time.time())
    claim = Claim(
        action.lane, f"{action.name}|{stored.stream}|{uuid.uuid4().hex}", uuid.uuid4().hex, b"", b"", b""
    )
    sealing = data_keys.ensure(process.scripts, [stored.stream], process.settings.retention.state_s)
    models = Models.read(process.scripts, sealing, [claim.unit] if action.keeps_model else [])
    context = context_of(entry, action.name, stored.trace_id, partial(models.of, claim.unit))
    called = replace(action, timeout_s=NO_LIMIT_S) if options.pdb else action
    caller, started = ActionCaller(), time.monotonic()
    with time_limits():
        failed = caller.attempt(called, event, context)
    took_s = time.monotonic() - started
    caller.loop.close()
    recorded = options.commit and failed is None
    if recorded:
        context.note("called by hand (deedbox call)")
        asked = {"action": action.name, "event": stored.fingerprint}
        with audited(process, options, AuditedOperation.CALL, **asked) as done:
            at = _leased(process, action, claim)
            report = OutcomeReport(claim, action, entry, stored, took_s, at, process.registry, keys=sealing)
            _record(process, claim, report.done(context), models)
            done.count = 1
    _tell(options, action, stored, context, failed, took_s, recorded=recorded)
    if failed is not None and options.pdb and failed[0] in {Failure.ERROR, Failure.TIMEOUT}:
        pdb.post_mortem(failed[1].__traceback__)
    return 0 if failed is None else 1


def _found(process: Process, options: CallOptions, action: RegisteredAction) -> StoredEvent:
    """Return the event that is meant. Raises DeedboxError, Unavailable."""
    identifier = options.identifier
    with translating():
        if _FINGERPRINT.fullmatch(identifier):
            loaded = _by_fingerprint(process.redis, identifier)
            if loaded:
                return data_keys.opened(process.redis, loaded)[0]
        key = identifier if "/" in identifier else f"signature_request/{identifier}"
        events = stored_events(process.redis, f"{options.source}:{key}")
    if not events:
        raise DeedboxError(
            f"No event of {key} of the source {options.source} is stored; see `deedbox trace`."
        )
    wanted = [each for each in events if action.wants(each.event_type)]
    if not wanted:
        types = ", ".join(sorted({each.event_type for each in events}))
        raise DeedboxError(f"The action {action.name} wants none of the stored events of {key}: {types}.")
    return max(wanted, key=lambda each: (each.event_time, RANKS.get(each.event_type, DEFAULT_RANK)))


def _by_fingerprint(redis: Redis, fingerprint: str) -> StoredEvent | Unreadable:
    """Read an event by its fingerprint alone. The clean stream says in which archive it is, if it is in one."""
    row: Any = redis.hgetall(keys.event(fingerprint))
    loaded = StoredEvent.load(fingerprint, row)
    stream = None if loaded else stream_of(redis, fingerprint)
    if stream is None:
        return loaded
    [fields] = archives.events(redis, [(stream, fingerprint)], *FIELDS)
    return StoredEvent.load(fingerprint, present(fields))


def stream_of(redis: Redis, fingerprint: str) -> str | None:
    """Return the stream of a released event, looking back from the newest; None if the clean stream has it no longer."""
    before = "+"
    while rows := cast("list[Any]", redis.xrevrange(keys.EVENTS, before, "-", count=PIECE)):
        for _, fields in rows:
            entry = CleanEntry.load(fields)
            if entry and entry.fingerprint == fingerprint:
                return entry.stream
        before = "(" + rows[-1][0].decode()
    return None


def _leased(process: Process, action: RegisteredAction, claim: Claim) -> float:
    """Lease a unit that no queue has, so that the outcome can be committed as a worker does. Returns the time."""
    with translating():
        now = float(process.redis.time()[0])
        with process.redis.pipeline(transaction=True) as lease:
            lease.hset(keys.action(action.name, "tokens"), claim.unit, claim.token)
            lease.zadd(keys.action(action.name, "leased"), {claim.unit: now + LEASE_S})
            lease.execute()
    return now


def _record(process: Process, claim: Claim, outcome: Settlement, models: Models) -> None:
    commit = Commit().outcome(claim.unit, claim.token, "done").append(outcome.operations)
    changes = models.changes([Section(claim.unit, commit, outcome.change)])
    _refused, lanes, _claimed, over = script_calls.finish(
        process.scripts, lane=claim.lane, retention=process.settings.retention, claim=NO_CLAIM, actions=(),
        operations=commit.append(changes.operations).operands(),
    )  # fmt: skip
    for lane in lanes:
        process.bells.ring(lane.decode())
    if over:
        raise DeedboxError(
            "Nothing was recorded: what is known of the request changed meanwhile. Call again."
        )


def _tell(
    options: CallOptions, action: RegisteredAction, stored: StoredEvent, context: Context,
    failed: tuple[Failure, BaseException] | None, took_s: float, *, recorded: bool,
) -> None:  # fmt: skip
    outcome = "done" if failed is None else str(failed[0])
    emitted = [{"type": name, "payload": payload} for name, payload in context._emitted]  # noqa: SLF001 - what a commit has
    told: dict[str, Any] = {
        "action": action.name, "event": stored.fingerprint, "type": stored.event_type, "outcome": outcome,
        "took_s": round(took_s, 6), "emitted": emitted, "recorded": recorded,
    }  # fmt: skip
    if failed is not None and failed[0] in {Failure.ERROR, Failure.TIMEOUT}:
        sys.stderr.write("".join(traceback.format_exception(failed[1])))
    if options.as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    why = "" if failed is None else f": {failed[1]}"
    lines = [
        f"{action.name} on {stored.event_type} ({stored.fingerprint}): {outcome}{why}, {took_s:.3f} s",
        *(f"  emitted {each['type']}" for each in emitted),
        "Recorded."
        if recorded
        else "Nothing is recorded" + ("." if failed or options.commit else "; --commit records."),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
