"""The sequencer's decisions as the operations of its one commit (``release.lua``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Self

from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.envelope import decode_inbox
from deedbox.shared.core.errors import KeyMissing, Undecodable
from deedbox.shared.core.ordering import Arrival, Decision, Released
from deedbox.shared.core.reasons import ArrivalVerdict, DeathReason, TimelineKind
from deedbox.shared.core.signature import BodySignature, Origin
from deedbox.shared.records import queue_entry, timeline_line
from deedbox.shared.records.stored_event import ASIDE, FACTS_AND_BODY, StoredEvent
from deedbox.shared.redis.inbox import about
from deedbox.shared.redis.scripting import Operand
from deedbox.workers.commit import Commit, clean_entry
from deedbox.workers.sequencer.arrivals import Delivered, KnownBody, SetAside, StreamWork


class StreamSection(Commit):
    """What a commit writes about one stream.

    Lines, entries and counts are gathered and written once: a batch of a busy stream has many of them, and every
    operand costs on both ends of the connection.
    """

    def __init__(
        self, stream: str, state: bytes, wake_at: float | None, at: float, events_keep: int = 0
    ) -> None:
        """``events_keep``: entries that the clean stream is cut to; 0: there is none."""
        super().__init__()
        self._begin = Commit().order(stream, state, wake_at)
        self._facts: list[Operand] = []
        self._lines: list[dict[str, Any] | timeline_line.Row] = []
        self._counts: dict[str, int] = {}
        self._valid = 0
        self.name = stream
        self._source = stream.partition(":")[0]
        self._at = at
        self.events_keep = events_keep
        self._releases: list[timeline_line.Row] = []
        self._released: list[tuple[str, list[Operand]]] = []

    def line(self, kind: TimelineKind, at: float, arrival: Arrival, **details: Any) -> None:
        """Add a line to the stream's timeline."""
        self._lines.append(
            {"at": at, "kind": kind, "type": arrival.type, "event": arrival.fingerprint, **details}
        )

    def arrived(self, stored: StoredEvent) -> None:
        """Add the line of a callback that arrived."""
        self._lines.append(
            timeline_line.arrived(
                stored.arrived_at, stored.event_type, stored.fingerprint, stored.event_time, stored.received_at,
                stored.body_signature.value, stored.trust.word, stored.trace_id,
            )
        )  # fmt: skip

    def note(self, at: float, detail: str) -> None:
        """Add a line that is about the stream, not about one event."""
        self._lines.append({"at": at, "kind": TimelineKind.NOTE, "detail": detail})

    def count(self, name: str, by: int = 1) -> Self:
        """Add to a counter."""
        self._counts[name] = self._counts.get(name, 0) + by
        return self

    def valid_header(self) -> None:
        """Count a new fact whose ``Content-Sha256`` is valid."""
        self._valid += 1

    def new_fact(self, stored: StoredEvent) -> None:
        """Add a new fact."""
        fields = stored.fields()
        if fields[::2] == FACTS_AND_BODY:
            self._facts += (stored.fingerprint, stored.arrived_at, fields[1], fields[3])
        else:
            self.fact(stored.fingerprint, arrived_at=stored.arrived_at, fields=fields)

    def release(self, at: float, released: Released, entry: str, clean: bytes) -> None:
        """Hand an event to all actions that want it, and say so in the timeline, behind its other lines.

        ``entry``: of their queues, behind the fingerprint. ``clean``: of the clean stream.
        """
        arrival, late = released.arrival, released.late
        waited_s = round(max(0.0, at - released.since), 6)
        self._releases.append(timeline_line.released(at, arrival.type, arrival.position, waited_s, late=late))
        if not self._released or self._released[-1][0] != entry:
            self._released.append((entry, []))
        self._released[-1][1].extend((arrival.fingerprint, arrival.type, clean))

    def operands(self) -> list[Operand]:
        """Return the operations, flat: new facts come first, and what else was gathered comes last."""
        facts = Commit().new_facts(self._facts) if self._facts else Commit()
        gathered = Commit()
        if self._lines or self._releases:
            gathered.timeline(*self._lines, *self._releases)
        for entry, events in self._released:
            gathered.releases(self.events_keep, entry, events)
        if self._valid:
            gathered.valid_headers(self._source, self._valid, at=self._at)
        for name, by in self._counts.items():
            gathered.count(name, by)
        return [*self._begin.operands(), *facts.operands(), *super().operands(), *gathered.operands()]


def add_releases(section: StreamSection, work: StreamWork, decision: Decision, now: float) -> None:
    """Dispatch what a decision released, to the queues of every action that wants it."""
    was_held = {held.arrival.fingerprint for held in work.state.held}
    in_vain = {proof.name for proof in decision.given_up}
    # All that is released at one time differs by its fingerprint alone, which an entry begins with.
    entries = {
        late: queue_entry.dump(QueueEntry("", now, late)) for late in {each.late for each in decision.release}
    }
    for released in decision.release:
        arrival, late = released.arrival, released.late
        position = arrival.position
        fingerprint = position.fingerprint
        if fingerprint in was_held:
            section.not_held(fingerprint)
            expired = any(proof.name in in_vain for proof in arrival.proofs)
            section.count("hold_expired" if expired else "hold_satisfied")
        clean = (
            clean_entry(section.name, fingerprint, arrival.type, position.time, position.signature, late=late)
            if section.events_keep
            else b""
        )
        section.release(now, released, entries[late], clean)
        section.count(ArrivalVerdict.LATE if late else ArrivalVerdict.RELEASED)
    if newly := in_vain - work.state.given_up.keys():
        section.count("given_up", len(newly))
    if decision.crowded:
        section.note(now, "more proofs than a request has: what is not in order is released without a wait")
        section.count("crowded")


def add_gaps(section: StreamSection, stream: str, decision: Decision, after_s: float) -> None:
    """Ask for a look for gaps where something may be missing later: the document, or what was given up.

    Rare events only, because each asks for one more write.
    """
    if not stream.partition(":")[2].startswith("signature_request/"):
        return
    if decision.given_up or any(released.arrival.type in _FINAL for released in decision.release):
        section.look_for_gaps(after_s=after_s)


_FINAL = frozenset({"signature_request_all_signed", "signature_request_downloadable"})


def add_arrivals(
    section: StreamSection, work: StreamWork, fresh: Sequence[Delivered], decision: Decision
) -> None:
    """Record each arrival: a new fact with its body, a hold, a duplicate, or a conflicting body."""
    held_now = {held.arrival.fingerprint: held.arrival for held in decision.state.held}
    held_before = {held.arrival.fingerprint for held in work.state.held}
    first = dict(work.known)
    for place, each in enumerate(fresh):
        fingerprint, stored = each.fact.fingerprint, each.stored
        _add_arrived(section, each)
        if place in decision.stood_for:
            section.count(ArrivalVerdict.DUPLICATE)
            of = {} if each.is_reconciled else {"of": Origin.RECONCILED}
            section.line(TimelineKind.DUPLICATE, stored.arrived_at, each.arrival, **of)
            continue
        known = first.get(fingerprint)
        if known is None:
            first[fingerprint] = KnownBody.of(stored)
            if stored.body_signature is BodySignature.VALID and not each.redriven:
                section.valid_header()
            if each.is_reconciled:
                section.count(Origin.RECONCILED)
            section.new_fact(stored)
            if fingerprint in held_now:
                section.held(fingerprint, since=stored.arrived_at)
                waits_for = [proof.name for proof in held_now[fingerprint].proofs]
                section.line(TimelineKind.HELD, stored.arrived_at, each.arrival, waits_for=waits_for)
                section.count(ArrivalVerdict.HELD)
            continue
        section.count(ArrivalVerdict.DUPLICATE)
        same, better = known.is_same(stored), known.is_worse(stored)
        details = {"better": stored.trust.word} if better else {}
        if better:
            first[fingerprint] = replace(known, digest=stored.body_digest, trust=stored.trust)
            released = fingerprint in work.known and fingerprint not in held_before and not known.aside
            _add_better(section, each, "" if same else known.digest, released=released)
        if same:
            section.line(TimelineKind.DUPLICATE, stored.arrived_at, each.arrival, **details)
            continue
        aside = known.digest if better else stored.body_digest
        if not better:
            section.other_body(fingerprint, aside, arrived_at=stored.arrived_at, fields=stored.fields())
        section.line(TimelineKind.CONFLICT, stored.arrived_at, each.arrival, body=aside, **details)
        section.count(ArrivalVerdict.CONFLICT)


def _add_better(section: StreamSection, each: Delivered, worse: str, *, released: bool) -> None:
    """Let a better body replace that of its fact. What was released already is told to the read model again."""
    stored = each.stored
    entry = queue_entry.dump(QueueEntry(stored.fingerprint, stored.arrived_at)) if released else ""
    section.better_body(
        stored.fingerprint, worse, arrived_at=stored.arrived_at, event_type=stored.event_type, again=entry,
        fields=stored.fields(),
    )  # fmt: skip
    section.count("better_body")


def _add_arrived(section: StreamSection, each: Delivered) -> None:
    stored = each.stored
    section.count("arrived")
    if each.is_reconciled:
        section.line(
            TimelineKind.ARRIVED, stored.arrived_at, each.arrival, event_time=stored.event_time,
            received_at=stored.received_at, body_signature=stored.body_signature, trust=stored.trust.word,
            trace_id=stored.trace_id, origin=stored.origin,
        )  # fmt: skip
        return
    section.arrived(stored)
    section.count("body_signature_" + stored.body_signature)


def add_too_old(section: StreamSection, each: Delivered) -> None:
    """Set an event aside that was too old when it was received."""
    section.count(ArrivalVerdict.TOO_OLD)
    _set_aside(section, each, DeathReason.TOO_OLD)


def add_unsigned(section: StreamSection, work: StreamWork, each: Delivered) -> None:
    """Set a body aside that nothing but ``event_hash`` vouches for, where the source signs every body.

    As one body of its fact, and not as the fact: the genuine callback must not become its duplicate.
    """
    stored = each.stored
    _add_arrived(section, each)
    if each.body_name in work.set_aside:
        section.count(ArrivalVerdict.DUPLICATE)
        section.line(TimelineKind.DUPLICATE, stored.arrived_at, each.arrival)
        return
    work.set_aside.add(each.body_name)
    section.count(ArrivalVerdict.UNSIGNED)
    fields = [*stored.fields(), ASIDE, DeathReason.UNSIGNED]
    section.other_body(stored.fingerprint, stored.body_digest, arrived_at=stored.arrived_at, fields=fields)
    section.line(TimelineKind.DEAD, stored.arrived_at, each.arrival, reason=DeathReason.UNSIGNED)
    section.dead_letter(
        _letter(replace(SetAside.of(stored), fingerprint=each.body_name), DeathReason.UNSIGNED)
    )


def add_unreadable(section: StreamSection, work: StreamWork) -> None:
    """Isolate a stream whose order state cannot be read: its arrivals become dead letters.

    Repeats of known facts are duplicates all the same. The state stays as it is, for a person to look at.
    """
    known = set(work.known)
    for each in work.delivered:
        # What came before cannot be told: for what is made of the API's answers that is a reason not to go on.
        if each.is_reconciled or each.fact.fingerprint in known:
            _add_arrived(section, each)
            section.count(ArrivalVerdict.DUPLICATE)
            section.line(TimelineKind.DUPLICATE, each.stored.arrived_at, each.arrival)
            continue
        known.add(each.fact.fingerprint)
        _set_aside(section, each, DeathReason.STATE_UNREADABLE)


def add_stranded(section: StreamSection, work: StreamWork) -> None:
    """Set aside what an unreadable order state held."""
    for held in work.stranded:
        section.not_held(held.fingerprint)
        marked = [ASIDE, DeathReason.STATE_UNREADABLE]
        section.fact(held.fingerprint, arrived_at=held.arrived_at, fields=marked)
        section.dead_letter(_letter(held, DeathReason.STATE_UNREADABLE))


def _set_aside(section: StreamSection, each: Delivered, reason: DeathReason) -> None:
    stored = each.stored
    # Marked, because a replay must leave alone what was never dispatched: a redrive makes it a separate fact.
    fields = [*stored.fields(), ASIDE, reason]
    _add_arrived(section, each)
    section.fact(stored.fingerprint, arrived_at=stored.arrived_at, fields=fields)
    section.line(TimelineKind.DEAD, stored.arrived_at, each.arrival, reason=reason)
    section.dead_letter(_letter(SetAside.of(stored), reason))


_DETAILS: Final = {
    DeathReason.TOO_OLD: "the event was older than DEEDBOX_MAX_EVENT_AGE_S when it was received",
    DeathReason.UNSIGNED: "Content-Sha256 is missing or wrong, and recent callbacks of the source had a valid one",
    DeathReason.STATE_UNREADABLE: "the stored order of its request cannot be read; a redrive begins a new one",
}


def _letter(aside: SetAside, reason: DeathReason) -> dict[str, str | bytes]:
    return {
        "reason": reason, "detail": _DETAILS[reason], "source": aside.source, "key": aside.key,
        "type": aside.event_type, "event": aside.fingerprint, "trace_id": aside.trace_id,
    }  # fmt: skip


def add_undecodable(commit: Commit, entry: bytes, error: Exception) -> DeathReason:
    """Set an entry of the inbox aside that this version cannot read, or not with these keys. Returns the reason."""
    reason = DeathReason.KEY_MISSING if isinstance(error, KeyMissing) else DeathReason.UNDECODABLE
    raw = _as_message(entry)
    letter: dict[str, str | bytes] = {"reason": reason, "detail": str(error), "raw": raw, **about(raw)}
    commit.dead_letter(letter).count("quarantined")
    return reason


def _as_message(entry: bytes) -> bytes:
    """Give an entry the form of a broker message, which is what a redrive hands to the bridge."""
    try:
        envelope = decode_inbox(entry)[1]
    except Undecodable:
        return encode_kombu({}, entry)
    return encode_kombu(envelope.headers(), envelope.body)
