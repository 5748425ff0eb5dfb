"""What a call led to, as the operations of its commit (``finish.lua``), one timeline entry and one log line."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any, Final

from deedbox.shared.core.attempts import Again, Dead, Failure, QueueEntry, bucket_of
from deedbox.shared.core.errors import KeyMissing
from deedbox.shared.core.reasons import DeathReason, TimelineKind
from deedbox.shared.core.values import value
from deedbox.shared.records import queue_entry
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.redis.data_keys import NONE, Keys
from deedbox.shared.runtime import logs, telemetry
from deedbox.shared.runtime.user_line import place
from deedbox.workers.actions.interface import Context
from deedbox.workers.actions.registry import RegisteredAction, Registry
from deedbox.workers.commit import Commit
from deedbox.workers.internal_events import internal_event
from deedbox.workers.lanes.batch import Claim, Settlement

DETAIL_MAX_CHARS: Final = 300
RETRIES_TOLD: Final = 8
"""Retries that each get a line in the timeline; after them, the 16th, 32nd and so on do."""

TRACEBACK_MAX_CHARS: Final = 4000


log = logs.get("outcomes")


def lost(claim: Claim, action: str, detail: str) -> Settlement:
    """Set an entry aside whose event is gone or unreadable."""
    letter: dict[str, str | bytes] = {
        "reason": DeathReason.EVENT_MISSING, "detail": detail, "action": action, "lane": claim.lane,
        "unit": claim.unit, "entry": claim.entry_text,
    }  # fmt: skip
    log.error("action.finished", outcome="dead", reason="event_missing", action=action, lane=claim.lane)
    return Settlement("done", 0, Commit().dead_letter(letter).count("action_dead"))


def unopened(claim: Claim, action: str, stored: StoredEvent, error: KeyMissing) -> Settlement:
    """Set an entry aside whose event cannot be decrypted with these keys; its event stays for a redrive."""
    letter: dict[str, str | bytes] = {
        "reason": DeathReason.KEY_MISSING, "detail": str(error), "action": action, "lane": claim.lane,
        "unit": claim.unit, "entry": claim.entry_text, "event": stored.fingerprint, "source": stored.source,
        "key": stored.ordering_key, "type": stored.event_type, "trace_id": stored.trace_id,
    }  # fmt: skip
    log.error("action.finished", outcome="dead", reason="key_missing", action=action, lane=claim.lane)
    return Settlement("done", 0, Commit().dead_letter(letter).count("action_dead"))


@value
class OutcomeReport:
    """Turns what happened in a call into the operations of the commit and one log line."""

    claim: Claim
    action: RegisteredAction
    entry: QueueEntry
    stored: StoredEvent
    took_s: float
    at: float
    """Unix seconds, Redis's clock, when the call ended."""
    registry: Registry
    span_id: str = ""
    """The call's span; empty: it is not traced."""
    keys: Keys = NONE
    """With which the texts of an action are encrypted: an error or a note may name a person."""

    def done(self, context: Context) -> Settlement:
        notes = context._notes  # noqa: SLF001 - of the same package
        told = [self._sealed(note) if note["kind"] == TimelineKind.NOTE else note for note in notes]
        lines = [self._line(TimelineKind.ACTION, outcome="done"), *(self._row(**note) for note in told)]
        commit = Commit().timeline(*lines)
        for event_type, payload in context._emitted:  # noqa: SLF001 - of the same package
            self._emit(commit, event_type, payload)
        self._measure(commit, "done")
        stored = sum(note["kind"] == TimelineKind.DOCUMENT for note in notes)
        if stored:
            commit.count("documents_stored", stored)
        line = self._facts("done") if telemetry.lines() else None
        return Settlement("done", 0, commit, context._change, line)  # noqa: SLF001 - of the same package

    def failed(self, failure: Failure, error: BaseException, verdict: Again | Dead) -> Settlement:
        detail = self._text(_detail(error))
        if isinstance(verdict, Again):
            self._log(
                "info" if failure is Failure.RETRY else "warning",
                str(failure),
                error=_where(error),
                next_in_s=round(verdict.after_s, 3),
            )
            line = self._line(
                TimelineKind.RETRY,
                outcome=str(failure),
                detail=detail,
                next_at=round(self.at + verdict.after_s, 3),
            )
            commit = Commit().queue_entry(queue_entry.dump(verdict.entry))
            if failure is not Failure.RETRY or _worth_telling(verdict.entry.retries):
                commit.timeline(line)
            self._measure(commit, str(failure))
            return Settlement("wait", verdict.after_s, commit)
        self._log("error", "dead", error=_where(error), reason=str(verdict.reason))
        letter: dict[str, str | bytes] = {
            "reason": verdict.reason, "detail": detail, "action": self.action.name, "lane": self.claim.lane,
            "unit": self.claim.unit, "entry": queue_entry.dump(self.entry), "event": self.stored.fingerprint,
            "source": self.stored.source, "key": self.stored.ordering_key, "type": self.stored.event_type,
            "trace_id": self.stored.trace_id, "traceback": self._text(_traceback(error, failure)),
        }  # fmt: skip
        line = self._line(TimelineKind.DEAD, reason=str(verdict.reason), detail=detail)
        commit = Commit().timeline(line).dead_letter(letter)
        self._measure(commit, "dead")
        return Settlement("done", 0, commit)

    def _emit(self, commit: Commit, event_type: str, payload: dict[str, Any]) -> None:
        """Add an internal event and hand it to the same key's actions."""
        cause = self.stored
        stored = internal_event(
            event_type, payload, cause.source, cause.ordering_key, cause.trace_id, self.at
        )
        # The spans of an internal event belong below this call.
        stored = replace(stored, span_id=self.span_id or cause.span_id)
        stored = self.keys.sealed(stored)
        digest, entry = stored.fingerprint, QueueEntry(stored.fingerprint, enqueued_at=round(self.at, 6))
        commit.fact(digest, arrived_at=self.at, fields=stored.fields())
        commit.clean_stream(
            self.registry.events_keep, stored.stream, digest, event_type, stored.event_time, None, late=False
        )
        commit.enqueue(digest, event_type, queue_entry.dump(entry))

    def _measure(self, commit: Commit, outcome: str) -> None:
        commit.measure(outcome, bucket_of(self.took_s), self.took_s)

    def _text(self, text: str) -> str:
        return self.keys.seal_text(self.stored.stream, text) if text else text

    def _sealed(self, note: dict[str, Any]) -> dict[str, Any]:
        return {**note, "detail": self._text(note["detail"])}

    def _line(self, kind: TimelineKind, **details: Any) -> dict[str, Any]:
        row = self._row(kind=kind.value, attempt=self.entry.attempt, took_s=round(self.took_s, 6), **details)
        if self.entry.late:
            row["late"] = True
        if self.entry.replay:
            row["replay"] = self.entry.replay
        return row

    def _row(self, **details: Any) -> dict[str, Any]:
        return {
            "at": round(self.at, 6), "type": self.stored.event_type, "event": self.stored.fingerprint,
            "action": self.action.name, **details,
        }  # fmt: skip

    def _log(self, level: str, outcome: str, **details: Any) -> None:
        getattr(log, level)("action.finished", **self._facts(outcome), **details)

    def _facts(self, outcome: str) -> dict[str, Any]:
        stored = self.stored
        return {
            "outcome": outcome, "action": self.action.name, "lane": self.claim.lane, "event_type": stored.event_type,
            "source": stored.source, "key": stored.ordering_key, "attempt": self.entry.attempt,
            "took_ms": round(self.took_s * 1000, 1), "trace_id": stored.trace_id,
        }  # fmt: skip


def _worth_telling(retries: int) -> bool:
    """Thin out the timeline of a long wait: its bounded length is for the history, not for one action's patience."""
    return retries <= RETRIES_TOLD or retries & (retries - 1) == 0


def _detail(error: BaseException) -> str:
    """Describe an error for the timeline and the dead letter: a person needs the message there."""
    try:
        text = f"{type(error).__name__}: {error}" if not hasattr(error, "reason") else str(error)
    except Exception:  # noqa: BLE001 - the error's own __str__ is user code too
        text = type(error).__name__
    return text[:DETAIL_MAX_CHARS]


def _where(error: BaseException) -> str:
    """Describe an error for the log: type and line of code, never its message, which may name a signer."""
    line = place(error.__traceback__)
    return type(error).__name__ + (f" at {line}" if line else "")


def _traceback(error: BaseException, failure: Failure) -> str:
    if failure in {Failure.RETRY, Failure.REJECT}:
        return ""
    return "".join(traceback.format_exception(error))[-TRACEBACK_MAX_CHARS:]
