"""The dead letters: found, shown, discarded. ``deedbox.ops.repair.redrive`` sends them back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

from deedbox.ops.repair import index_pages
from deedbox.ops.repair.causes import error_kind
from deedbox.ops.repair.progress import Tell, unheard
from deedbox.shared import codec
from deedbox.shared.core.callback import outward_text
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.fields import moment_of
from deedbox.shared.core.routing import matches
from deedbox.shared.records.stored_event import HEAD, StoredEvent, present
from deedbox.shared.redis import data_keys, keys, repair_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.inbox import callback_in
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import Retention

PIECE: Final = 30
"""Letters that one script call removes: about 2 ms, in which Redis answers no other client."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter, without what may be large or private: ``body`` and ``traceback`` fetch that.

    A letter is about a message (``undecodable``), an event (``too_old``) or an (event, action); what does not
    apply is empty.
    """

    id: str
    at: float
    """Unix seconds, Redis's clock."""
    reason: str
    detail: str = ""
    source: str = ""
    key: str = ""
    type: str = ""
    action: str = ""
    lane: str = ""
    unit: str = ""
    entry: str = ""
    event: str = ""
    """Fingerprint of the event."""
    trace_id: str = ""
    count: str = ""
    """How many callbacks it stands for, where that is more than one."""

    @classmethod
    def of_values(cls, values: Sequence[bytes | None]) -> Self:
        """Build a letter from the values of ``FIELDS``."""
        row: dict[str, Any] = {
            name: value.decode("utf-8", "replace")
            for name, value in zip(FIELDS, values, strict=True)
            if value is not None
        }
        return cls(**{**row, "at": moment_of(row.get("at", "").encode()) or 0.0})

    @property
    def stream(self) -> str:
        """Source and ordering key."""
        return f"{self.source}:{self.key}"

    @property
    def error(self) -> str:
        """The kind of its error."""
        return error_kind(self.detail)

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


FIELDS: Final = tuple(each.name for each in fields(DeadLetter))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters a person means: these ids, or all that fit; empty texts fit everything."""

    ids: tuple[str, ...] = ()
    reason: str = ""
    action: str = ""
    pattern: str = ""
    """Of event types: exact, a prefix with ``*``, or ``*``."""
    source: str = ""
    key: str = ""
    """Ordering key, such as ``signature_request/fa5c8a0b``."""
    error: str = ""
    """Kind of error, such as ``KeyError``."""
    since: float = 0.0
    """Unix seconds; letters that died before are left out."""
    until: float = math.inf

    @property
    def narrow(self) -> bool:
        """Whether any filter is set."""
        return replace(self, ids=()) != EVERYTHING

    def asked(self) -> dict[str, Any]:
        """Return what is set, for the audit."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        given = {name: value for name, value in named.items() if value not in {(), "", 0.0, math.inf}}
        return given or {"all": True}

    def fits(self, letter: DeadLetter) -> bool:
        """Return whether a letter fits."""
        return (
            self.reason in {"", letter.reason}
            and self.action in {"", letter.action}
            and self.source in {"", letter.source}
            and self.key in {"", letter.key}
            and self.error in {"", letter.error}
            and (not self.pattern or matches(self.pattern, letter.type))
            and self.since <= letter.at <= self.until
        )


EVERYTHING: Final = Selection()


class DeadLetters:
    """The dead letters of one installation. Every method raises Unavailable if Redis does not answer."""

    def __init__(self, scripts: Scripts, retention: Retention = Retention()) -> None:  # noqa: B008 - frozen
        self._scripts = scripts
        self._redis = scripts.redis
        self._retention = retention

    @translating()
    def count(self) -> int:
        """Return how many there are."""
        return int(self._redis.zcard(keys.DEAD))

    def newest_first(self, selection: Selection = EVERYTHING) -> Iterator[DeadLetter]:
        """Read the letters that fit, chunk by chunk; those that are filed meanwhile are left out."""
        pages = index_pages.newest_first(self._redis, keys.DEAD, selection.until, selection.since)
        with translating():
            for ids in pages:
                yield from (letter for letter in self._read(ids) if selection.fits(letter))

    def select(self, selection: Selection) -> list[DeadLetter]:
        """Return the letters that are meant, oldest first. Raises DeedboxError for an id that there is not."""
        if not selection.ids:
            return list(self.newest_first(selection))[::-1]
        found = {letter.id: letter for letter in self._read(dict.fromkeys(selection.ids))}
        missing = [each for each in selection.ids if each not in found]
        if missing:
            raise DeedboxError(
                f"There is no dead letter {', '.join(missing[:5])}; `deedbox dead list` shows them."
            )
        return sorted(found.values(), key=lambda letter: letter.at)

    def there(self, ids: Sequence[str]) -> list[DeadLetter]:
        """Return those of these letters that are still there, oldest first."""
        return sorted(self._read(dict.fromkeys(ids)), key=lambda letter: letter.at)

    def body(self, letter: DeadLetter) -> bytes | None:
        """Return the callback of a letter, without ``event_hash``; None if it is gone. It may name people.

        Raises Undecodable for a stored body that is damaged.
        """
        kept = self.kept(letter)
        return None if kept is None else outward_text(callback_in(codec.decode(kept[1], kept[0])))

    @translating()
    def kept(self, letter: DeadLetter) -> tuple[bytes, str] | None:
        """Return the same as it is stored, with the codec of an event's body; None if it is gone.

        An event's body is decrypted, a message is not. Raises KeyMissing, Undecodable.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(keys.dead(letter.id), "raw")
        pipe.hgetall(keys.event(letter.event))
        raw, fields = pipe.execute()
        if raw is not None:
            return raw, ""
        stored = StoredEvent.load(letter.event, fields)
        if not stored:
            return None
        [stored] = data_keys.opened(self._redis, stored)
        return stored.body, stored.codec

    @translating()
    def traceback(self, letter: DeadLetter) -> str:
        """Return the traceback of the last call; empty if there is none."""
        packed: Any = self._redis.hget(keys.dead(letter.id), "traceback")
        traceback = (packed or b"").decode("utf-8", "replace")
        if not data_keys.is_sealed(traceback):
            return traceback
        return data_keys.find(self._redis, (letter.stream,)).readable_text(letter.stream, traceback)

    def discard(self, letters: Sequence[DeadLetter], tell: Tell = unheard) -> int:
        """Remove letters for good. Returns how many were still there."""
        removed = 0
        for start in range(0, len(letters), PIECE):
            tell("discarding", start, len(letters))
            ids = [letter.id for letter in letters[start : start + PIECE]]
            removed += repair_calls.discard(self._scripts, ids, event_life_s=self._retention.events_s)
        return removed

    @translating()
    def _read(self, ids: Iterable[str]) -> Iterator[DeadLetter]:
        pipe = self._redis.pipeline(transaction=False)
        for each in ids:
            pipe.hmget(keys.dead(each), FIELDS)
        # One that another operator removed between the two looks has no fields any more.
        found = [DeadLetter.of_values(values) for values in pipe.execute() if values[0] is not None]
        found = self._with_facts(found)
        sealed = [letter.stream for letter in found if data_keys.is_sealed(letter.detail)]
        opened = data_keys.find(self._redis, sealed)
        return (
            replace(letter, detail=opened.readable_text(letter.stream, letter.detail)) for letter in found
        )

    def _with_facts(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Take from their events what a script could not read of them: it filed these letters."""
        wanted = [letter.event for letter in letters if letter.event and not letter.type]
        if not wanted:
            return list(letters)
        pipe = self._redis.pipeline(transaction=False)
        for event in wanted:
            pipe.hmget(keys.event(event), HEAD)
        rows = zip(wanted, pipe.execute(), strict=True)
        events = {event: StoredEvent.load(event, present(row)) for event, row in rows}
        return [
            replace(letter, type=stored.event_type, trace_id=stored.trace_id)
            if (stored := events.get(letter.event)) else letter
            for letter in letters
        ]  # fmt: skip
