"""The clean stream, read from a cursor on: pages of released events, in the order of their release.

A cursor names an entry by its place in Redis's stream and by its number. The number has no gaps, so that a reader
whose next entries were cut off meanwhile, or whose Redis lost some, is told instead of left with a hole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import unquote

from redis import Redis

from deedbox.shared import codec
from deedbox.shared.archives import reading as archives
from deedbox.shared.core.callback import outward
from deedbox.shared.core.errors import DeedboxError, KeyMissing, Unavailable, Undecodable
from deedbox.shared.core.fields import Unreadable
from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.records.stored_event import BODY, FIELDS, HEAD, PIECES_BYTES, StoredEvent, present
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.data_keys import Keys

SCAN_MAX: Final = 5000
"""Entries that one page looks at, however few of them a filter lets through."""

PAYLOADS_MAX_BYTES: Final = 8 * 1024 * 1024
"""Payloads of one page; a single one may be larger."""

CURSOR_PATTERN: Final = r"[0-9]{1,19}-[0-9]{1,19}-[0-9]{1,19}"
"""19 digits always fit into the 64 bits of a place in Redis's stream."""

_LAST_SEQUENCE: Final = 10**19 - 1
"""Beyond any that a millisecond ever has."""

PAGE: Final = 200
"""Entries that are read at a time, from the newest back."""

_ENDS: Final = 10
"""Entries at an end of the stream that are looked at for one of ours."""

Fields = Mapping[bytes, bytes]


class CursorExpired(DeedboxError):
    """Entries after the cursor were cut off. ``oldest`` is the cursor before the oldest entry that is still there."""

    def __init__(self, oldest: str) -> None:
        super().__init__("the events after this cursor are kept no longer")
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the stream: after this entry."""

    milliseconds: int
    sequence: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor. Raises ValueError."""
        if re.fullmatch(CURSOR_PATTERN, text) is None:
            raise ValueError("is no cursor of this API")
        return cls(*map(int, text.split("-")))

    @classmethod
    def at(cls, entry_id: bytes, number: int) -> Self:
        """Return the cursor after an entry."""
        milliseconds, _, sequence = entry_id.partition(b"-")
        return cls(int(milliseconds), int(sequence), number)

    @property
    def entry_id(self) -> str:
        """Place in Redis's stream."""
        return f"{self.milliseconds}-{self.sequence}"

    def __str__(self) -> str:
        return f"{self.entry_id}-{self.number}"


START: Final = Cursor(0, 0, 0)
"""Before the first event ever."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a reader wants."""

    limit: int = 100
    types: tuple[str, ...] = ()
    """Exact, or a prefix that ends in ``*``; empty: every type."""
    sources: tuple[str, ...] = ()

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Return whether an event passes the filters."""
        return (not self.sources or event["source"] in self.sources) and (
            not self.types or any(_matches(pattern, event["type"]) for pattern in self.types)
        )


def _matches(pattern: str, event_type: str) -> bool:
    return event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, and where to go on."""

    events: list[dict[str, Any]]
    cursor: Cursor
    """After everything that was looked at; not only after the last event that passed the filters."""
    more: bool
    """There is more behind the cursor already."""


@translating()
def newest(redis: Redis) -> Cursor:
    """Return the cursor after the newest event. Raises Unavailable."""
    rows: Any = redis.xrevrange(keys.EVENTS, count=_ENDS)
    return _end(rows)


@translating()
def oldest(redis: Redis) -> Cursor:
    """Return the cursor before the oldest event that is still there. Raises Unavailable."""
    rows: Any = redis.xrange(keys.EVENTS, count=_ENDS)
    return _before(rows)


@translating()
def latest(redis: Redis, wanted: EventFilter) -> EventPage:
    """Return the newest events, the newest first; the page's cursor is after the newest of all. Raises Unavailable."""
    events: list[dict[str, Any]] = []
    end, before, scanned = newest(redis), "+", 0
    while scanned < SCAN_MAX and len(events) < wanted.limit:
        rows: Any = redis.xrevrange(keys.EVENTS, before, "-", count=PAGE)
        for entry_id, fields in rows:
            found = CleanEntry.load(fields)
            event = _event(Cursor.at(entry_id, found.number), found) if found else None
            if event is not None and wanted.wants(event):
                events.append(event)
        scanned += len(rows)
        if len(rows) < PAGE:
            break
        before = f"({rows[-1][0].decode()}"
    return EventPage(events[: wanted.limit], end, more=len(events) > wanted.limit)


@translating()
def read(redis: Redis, after: Cursor, wanted: EventFilter) -> EventPage:
    """Return the events after a cursor. Raises CursorExpired, Unavailable."""
    events: list[dict[str, Any]] = []
    cursor, scanned = after, 0
    while True:
        count = max(wanted.limit, 100)
        rows: Any = redis.xrange(keys.EVENTS, f"({cursor.entry_id}", "+", count=count)
        for entry_id, fields in rows:
            found = CleanEntry.load(fields)
            if not found:
                # None of ours: passed over, so that a reader goes on behind it.
                cursor = Cursor.at(entry_id, cursor.number)
                continue
            following = Cursor.at(entry_id, found.number)
            if not _follows(redis, cursor.number, following.number):
                raise CursorExpired(str(oldest(redis)))
            if len(events) == wanted.limit:
                return EventPage(events, cursor, more=True)
            cursor = following
            event = _event(cursor, found)
            if wanted.wants(event):
                events.append(event)
        scanned += len(rows)
        if len(rows) < count or scanned >= SCAN_MAX:
            return EventPage(events, cursor, more=len(rows) == count)


@translating()
def with_heads(redis: Redis, page: EventPage) -> EventPage:
    """Add each event's trace id, level of trust and origin; None if the event is kept no longer, or was erased. Raises Unavailable."""
    rows = archives.events(redis, _named(page), *HEAD)
    heads = [StoredEvent.load("", present(row)) for row in rows]
    events = [{**event, **_head(head)} for event, head in zip(page.events, heads, strict=True)]
    return EventPage(events, page.cursor, page.more)


def _head(head: StoredEvent | Unreadable) -> dict[str, str | None]:
    if not head:
        return {"trace_id": None, "trust": None, "origin": None}
    return {"trace_id": head.trace_id, "trust": head.trust.word, "origin": head.origin.value}


@translating()
def with_payloads(redis: Redis, page: EventPage) -> EventPage:
    """Add each event's payload; None if it is kept no longer, or was erased. Raises Unavailable.

    A page whose payloads are large ends early: a body may have megabytes.
    """
    pipe = redis.pipeline(transaction=False)
    for event in page.events:
        pipe.hstrlen(keys.event(event["event"]), BODY)
    count, total_bytes = 0, 0
    for size_bytes in pipe.execute():
        total_bytes += max(size_bytes, PIECES_BYTES)
        if count and total_bytes > PAYLOADS_MAX_BYTES:
            break
        count += 1
    # Once more, by what they unpack to: a body may become a hundred times its length.
    texts: list[bytes] = []
    room = PAYLOADS_MAX_BYTES
    rows = archives.events(redis, _named(page)[:count], *FIELDS)
    kept = [StoredEvent.load("", present(row)) for row in rows]
    found = data_keys.find(redis, [each.stream for each in kept if each and each.is_sealed])
    for each in kept:
        texts.append(_unpacked(each, found))
        room -= len(texts[-1])
        if room < 0 and len(texts) > 1:
            texts.pop()
            break
    events = [{**event, "payload": _object(text)} for event, text in zip(page.events, texts, strict=False)]
    if len(events) == len(page.events):
        return EventPage(events, page.cursor, page.more)
    return EventPage(events, Cursor.parse(events[-1]["cursor"]), more=True)


def _named(page: EventPage) -> list[tuple[str, str]]:
    return [(f"{event['source']}:{event['ordering_key']}", event["event"]) for event in page.events]


def _unpacked(stored: StoredEvent | Unreadable, found: Keys) -> bytes:
    """Return a body as it was received; nothing if it is gone or damaged. Raises Unavailable if its key is missing."""
    if not stored:
        return b""
    try:
        plain = found.opened(stored)
        return codec.decode(plain.codec, plain.body)
    except KeyMissing as error:
        raise Unavailable(str(error)) from error
    except Undecodable:
        return b""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body or b"null")
    except ValueError:
        return None
    return outward(document) if isinstance(document, dict) else None


def _follows(redis: Redis, number: int, following: int) -> bool:
    """Return whether all that is missing between two numbers was erased, and nothing was cut off or lost."""
    missing = following - number - 1
    if missing <= 0:
        return missing == 0
    return bool(redis.zcount(keys.EVENTS_ERASED, number + 1, following - 1) == missing)


def _event(cursor: Cursor, entry: CleanEntry) -> dict[str, Any]:
    source, _, ordering_key = entry.stream.partition(":")
    kind, _, subject = ordering_key.partition("/")
    return {
        "cursor": str(cursor),
        "event": entry.fingerprint,
        "type": entry.event_type,
        "source": source,
        "ordering_key": ordering_key,
        "signature_request_id": unquote(subject) if kind == "signature_request" else None,
        "event_time": entry.event_time,
        "related_signature_id": entry.signature or None,
        "late": entry.late,
        "released_at": cursor.milliseconds / 1000,
    }


def _end(rows: Iterable[tuple[bytes, Fields]]) -> Cursor:
    read_rows = ((entry_id, CleanEntry.load(fields)) for entry_id, fields in rows)
    return next((Cursor.at(entry_id, entry.number) for entry_id, entry in read_rows if entry), START)


def _before(rows: Iterable[tuple[bytes, Fields]]) -> Cursor:
    first = _end(rows)
    if first is START:
        return START
    # The entry just before it is gone, but places between two entries are places too.
    if first.sequence:
        return Cursor(first.milliseconds, first.sequence - 1, first.number - 1)
    return Cursor(first.milliseconds - 1, _LAST_SEQUENCE, first.number - 1)
