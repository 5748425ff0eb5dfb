"""Sends dead letters back into the flow: first a plan that a person can read, then letter by letter.

Three ways back, by what the letter is about:

* an (event, action): to the end of its unit's queue, with its attempts counted from 0 and the same idempotency key;
* a message that never became an event (``undecodable``): as it was, to the bridge, which may be of a later
  version by now;
* an event that was ``too_old``, ``unsigned`` or ``state_unreadable``: as a separate fact, to the bridge. Its age does not matter any
  more, and a state that cannot be read is replaced by a new one.

Each step is one script call that also removes the letter: an interrupted redrive repeats nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from deedbox.ops.repair.deadletters import DeadLetter, DeadLetters
from deedbox.ops.repair.progress import Tell, unheard
from deedbox.shared.archives import reading as archives
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.attempts import QueueEntry
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import KeyMissing, Undecodable
from deedbox.shared.core.ordering import Position
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.records import order_state, queue_entry
from deedbox.shared.records.stored_event import HEAD, StoredEvent, present
from deedbox.shared.records.subscriptions import announced
from deedbox.shared.redis import keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.inbox import stream_of
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention
from deedbox.shared.sealing.envelopes import sealed

CHUNK: Final = 500

ERASING: Final = "erase_destroyed"
"""The built-in action whose work on an erased stream goes on."""

_NOWHERE: Final = Position(0, 0, "", "")


class RedriveReply(IntEnum):
    """What ``redrive.lua`` and ``redrive_raw.lua`` answer."""

    DONE = 1
    LETTER_GONE = 0
    EVENT_GONE = -1
    ERASED = -2
    KEY_MISSING = -3
    """Not of a script: the body cannot be decrypted."""


class Route(StrEnum):
    """Where a letter goes back to."""

    QUEUE = "queue"
    BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class RedriveStep:
    """One letter on its way back."""

    letter: DeadLetter
    route: Route
    event: StoredEvent | None = None
    """Without its body."""
    position: Position = _NOWHERE
    late: bool = False
    """A later event of its stream has been released."""


@dataclass(frozen=True, slots=True)
class RefusedLetter:
    """A letter that cannot go back, and why."""

    letter: DeadLetter
    why: str


@dataclass(slots=True)
class RedrivePlan:
    """What a redrive would do; nothing is changed yet."""

    steps: list[RedriveStep] = field(default_factory=list)
    """In position order: that is the order in which the queues get them."""
    refused: list[RefusedLetter] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "letters": [step.letter.id for step in self.steps],
            "late": sum(step.late for step in self.steps),
            "refused": _refusals(self.refused),
        }


@dataclass(slots=True)
class RedriveTally:
    """What a redrive did."""

    redriven: int = 0
    gone: int = 0
    """Letters that somebody else had removed in between."""
    refused: list[RefusedLetter] = field(default_factory=list)
    refused_before: int = 0
    """How many of these the plan had refused already."""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"redriven": self.redriven, "gone": self.gone, "refused": _refusals(self.refused)}


class Redriver:
    """Plans and carries out redrives. Every method raises Unavailable if Redis does not answer."""

    def __init__(
        self,
        scripts: Scripts,
        ring: Callable[[str], None],
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._ring = ring
        self._letters = DeadLetters(scripts, retention)
        self._retention = retention

    @translating()
    def plan(self, letters: Sequence[DeadLetter]) -> RedrivePlan:
        """Find out how each letter could go back."""
        plan = RedrivePlan()
        for start in range(0, len(letters), CHUNK):
            chunk = letters[start : start + CHUNK]
            events = self._events(chunk)
            with_message = self._with_message(chunk)
            erased = self._erased(chunk)
            greatest = self._greatest({event.stream for event in events.values()})
            for letter in chunk:
                step = _step(
                    letter, events.get(letter.event), greatest, has_message=letter.id in with_message
                )
                if letter.id in erased:
                    plan.refused.append(RefusedLetter(letter, _ERASED))
                elif isinstance(step, RedriveStep):
                    plan.steps.append(step)
                else:
                    plan.refused.append(step)
        plan.steps.sort(key=lambda step: (step.position, step.letter.at))
        return plan

    @translating()
    def carry_out(self, plan: RedrivePlan, tell: Tell = unheard) -> RedriveTally:
        """Send the letters back, one by one, and ring the lanes that need it."""
        tally = RedriveTally(refused=list(plan.refused), refused_before=len(plan.refused))
        lanes = announced(self._redis).lane_of
        for number, step in enumerate(plan.steps):
            tell("redriving", number, len(plan.steps))
            done = self._requeue(step, lanes) if step.route is Route.QUEUE else self._resend(step)
            if done in _WHY:
                tally.refused.append(RefusedLetter(step.letter, _WHY[done]))
            elif done == RedriveReply.DONE:
                tally.redriven += 1
            else:
                tally.gone += 1
        return tally

    def _requeue(self, step: RedriveStep, lanes: Mapping[str, str]) -> int:
        letter, event = step.letter, step.event
        if event is None:
            return RedriveReply.EVENT_GONE
        seconds, microseconds = self._redis.time()
        old = queue_entry.load(letter.entry)
        if not old:
            return RedriveReply.EVENT_GONE
        entry = QueueEntry(
            old.fingerprint, seconds + microseconds / 1_000_000, late=old.late or step.late, replay=old.replay
        )
        # Only to ring there: its queue is the action's, in whatever lane it died.
        lane = lanes.get(letter.action, letter.lane)
        code, ring = repair_calls.redrive(
            self._scripts, letter=letter.id, retention=self._retention, lane=lane, unit=letter.unit,
            entry=queue_entry.dump(entry), stream=event.stream, arrived_at=event.arrived_at,
        )  # fmt: skip
        if ring:
            self._ring(lane)
        return code

    def _resend(self, step: RedriveStep) -> int:
        event = step.event
        try:
            kept = self._letters.kept(step.letter)
        except KeyMissing:
            return RedriveReply.KEY_MISSING
        except Undecodable:
            return RedriveReply.EVENT_GONE
        if kept is None:
            return RedriveReply.EVENT_GONE
        if event is None:
            message, stream = kept[0], stream_of(kept[0])
        else:
            message, stream = _message(step.letter, event, *kept), event.stream
        return repair_calls.redrive_raw(
            self._scripts, message=message, stream=stream, letter=step.letter.id,
            event_life_s=self._retention.events_s,
        )  # fmt: skip

    def _events(self, letters: Iterable[DeadLetter]) -> dict[str, StoredEvent]:
        """Read the facts of the letters' events; those that are gone are missing."""
        fingerprints = list(dict.fromkeys(letter.event for letter in letters if letter.event))
        pipe = self._redis.pipeline(transaction=False)
        for fingerprint in fingerprints:
            pipe.hmget(keys.event(fingerprint), HEAD)
        heads = pipe.execute()
        found = {}
        for fingerprint, head in zip(fingerprints, heads, strict=True):
            stored = StoredEvent.load(fingerprint, present(head))
            if stored:
                found[fingerprint] = stored
        return found

    def _with_message(self, letters: Iterable[DeadLetter]) -> set[str]:
        """Return the ids of the letters that hold a raw message."""
        ids = [letter.id for letter in letters]
        pipe = self._redis.pipeline(transaction=False)
        for each in ids:
            pipe.hexists(keys.dead(each), "raw")
        return {each for each, held in zip(ids, pipe.execute(), strict=True) if held}

    def _erased(self, letters: Iterable[DeadLetter]) -> set[str]:
        """Return the ids of the letters whose stream was erased. The erasure's own may go back: it has an end to reach."""
        named = [letter for letter in letters if letter.key and letter.action != ERASING]
        pipe = self._redis.pipeline(transaction=False)
        for letter in named:
            pipe.exists(keys.erased(f"{letter.source}:{letter.key}"))
        return {letter.id for letter, found in zip(named, pipe.execute(), strict=True) if found}

    def _greatest(self, streams: Iterable[str]) -> dict[str, Position]:
        """Read the greatest released position of each stream that has one."""
        names = list(streams)
        states = archives.values(self._redis, names, "order")
        loaded = {
            name: order_state.load(packed) for name, [packed] in zip(names, states, strict=True) if packed
        }
        return {name: state.greatest for name, state in loaded.items() if state and state.greatest}


_GONE: Final = "its event is gone: DEEDBOX_EVENT_RETENTION_DAYS were over"
_ERASED: Final = "its request was erased"
_LOCKED: Final = "the key that encrypts it is not in DEEDBOX_ENCRYPTION_KEYS"
_WHY: Final[Mapping[int, str]] = {RedriveReply.EVENT_GONE: _GONE, RedriveReply.ERASED: _ERASED,
                                   RedriveReply.KEY_MISSING: _LOCKED}  # fmt: skip


def _refusals(refused: Iterable[RefusedLetter]) -> list[dict[str, str]]:
    return [{"id": each.letter.id, "why": each.why} for each in refused]


def _step(
    letter: DeadLetter, event: StoredEvent | None, greatest: Mapping[str, Position], *, has_message: bool
) -> RedriveStep | RefusedLetter:
    if has_message:  # it never became an event
        return RedriveStep(letter, Route.BRIDGE)
    if not (letter.event or letter.entry):
        return RefusedLetter(letter, "it holds no message; its detail says where the bytes are")
    if event is None:
        return RefusedLetter(letter, _GONE)
    place = arrival_of(
        event.event_type, event.event_time, event.related_signature_id, event.fingerprint, {}
    ).position
    if letter.reason in {DeathReason.TOO_OLD, DeathReason.UNSIGNED, DeathReason.STATE_UNREADABLE}:
        return RedriveStep(letter, Route.BRIDGE, event, place)
    if not queue_entry.load(letter.entry):
        return RefusedLetter(letter, "its queue entry cannot be read")
    last = greatest.get(event.stream)
    return RedriveStep(letter, Route.QUEUE, event, place, late=last is not None and last > place)


def _message(letter: DeadLetter, event: StoredEvent, body: bytes, codec: str) -> bytes:
    plain = Envelope(
        source=event.source,
        received_at=event.received_at,
        body_signature=event.body_signature,
        trace_id=event.trace_id,
        body=body,
        redrive=f"letter-{letter.id}",
        codec=codec,
        key=event.ordering_key,
    )
    envelope = sealed(plain)
    return encode_kombu(envelope.headers(), envelope.body)
