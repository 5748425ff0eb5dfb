"""Reads what is known about streams, whether it is archived or not. Changes nothing.

A stream may be archived, or restored, between two commands of one reading. So either one command reads both forms, or the
reading is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from redis import Redis

from deedbox.shared.archives.stream_archive import StreamArchive
from deedbox.shared.redis import keys

NOTHING: Final = StreamArchive()
T = TypeVar("T")

PAGE: Final = 1000
"""Names of one reply: a stream may get any number of events."""


def read(redis: Redis, streams: Iterable[str]) -> dict[str, StreamArchive]:
    """Return the archives that there are and that can be read. Raises RedisError."""
    names = list(dict.fromkeys(streams))
    if not names:
        return {}
    packed: Any = redis.mget([keys.archive(stream) for stream in names])
    return _loaded(names, packed)


def beside(redis: Redis, stream: str, read_live: Callable[[], T]) -> tuple[T, StreamArchive]:
    """Read a stream's live keys, and its archive of the same moment. Raises RedisError."""
    name = keys.archive(stream)
    before: Any = redis.get(name)
    while True:
        live = read_live()
        packed: Any = redis.get(name)
        if packed == before:
            return live, _loaded((stream,), (packed,)).get(stream, NOTHING)
        before = packed


def values(redis: Redis, streams: Sequence[str], *kinds: str) -> list[list[bytes | None]]:
    """Return each stream's values of some kinds: ``order``, ``request``, ``document``. Raises RedisError."""
    if not streams:
        return []
    names = [keys.value(kind, stream) for stream in streams for kind in kinds]
    found: Any = redis.mget([*names, *map(keys.archive, streams)])
    archives = _loaded(streams, found[len(names) :])
    rows = [found[start : start + len(kinds)] for start in range(0, len(names), len(kinds))]
    return [
        [
            _either(each, archives.get(stream, NOTHING).values, kind)
            for each, kind in zip(row, kinds, strict=True)
        ]
        for stream, row in zip(streams, rows, strict=True)
    ]


def events(redis: Redis, wanted: Sequence[tuple[str, str]], *fields: str) -> list[list[bytes | None]]:
    """Return fields of stored events, named by stream and fingerprint. Raises RedisError."""
    rows = _live(redis, wanted, fields)
    archives = read(redis, (stream for (stream, _), row in zip(wanted, rows, strict=True) if not any(row)))
    rows = [
        row if any(row) else _fields(archives.get(stream, NOTHING), name, fields)
        for (stream, name), row in zip(wanted, rows, strict=True)
    ]
    gone = [number for number, row in enumerate(rows) if not any(row)]
    # One may have been restored in between.
    again = _live(redis, [wanted[number] for number in gone], fields)
    for number, row in zip(gone, again, strict=True):
        rows[number] = row
    return rows


def names_between(redis: Redis, stream: str, since: float | str, until: float | str) -> list[bytes]:
    """Return the names in a stream's dedupe memory of a span of arrivals, archived ones first. Raises RedisError."""
    live, archive = beside(redis, stream, lambda: _names(redis, stream, since, until))
    archived = [name for name, at in archive.seen.items() if float(since) <= at <= float(until)]
    return list(dict.fromkeys([*archived, *live]))


def _names(redis: Redis, stream: str, since: float | str, until: float | str) -> list[bytes]:
    found: list[bytes] = []
    while page := _page(redis, stream, since, until, len(found)):
        found += page
    return found


def _page(redis: Redis, stream: str, since: float | str, until: float | str, start: int) -> list[bytes]:
    found: Any = redis.zrangebyscore(keys.seen(stream), since, until, start, PAGE)
    return list(found)


def first_and_last(redis: Redis, stream: str, first: int, last: int) -> list[bytes]:
    """Return the first and the last names in a stream's dedupe memory, by arrival. Raises RedisError."""

    def ends() -> list[list[bytes]]:
        pipe = redis.pipeline(transaction=False)
        pipe.zrange(keys.seen(stream), 0, first - 1)
        pipe.zrange(keys.seen(stream), -last, -1)
        return list(pipe.execute())

    (begun, ended), archive = beside(redis, stream, ends)
    archived = list(archive.seen)
    begun, ended = [*archived[:first], *begun][:first], [*archived[-last:], *ended][-last:]
    return list(dict.fromkeys([*begun, *ended]))


def finds_of(redis: Redis, stream: str) -> set[str]:
    """Return the terms of the look-ups that find a request. Raises RedisError."""
    ask: Callable[[str], Any] = redis.hkeys
    live, archive = beside(redis, stream, lambda: ask(keys.finds(stream)))
    return {term.decode("utf-8", "replace") for term in (*live, *archive.finds)}


def exist(redis: Redis, streams: Sequence[str]) -> list[bool]:
    """Return of each stream whether anything is known that happened to it. Raises RedisError."""
    pipe = redis.pipeline(transaction=False)
    for stream in streams:
        pipe.exists(keys.timeline(stream), keys.archive(stream))
    return [bool(found) for found in pipe.execute()]


def _loaded(streams: Sequence[str], packed: Iterable[bytes | None]) -> dict[str, StreamArchive]:
    now = time.time()
    return {
        stream: archive.without_expired(now)
        for stream, data in zip(streams, packed, strict=True)
        if data is not None and (archive := StreamArchive.load(data))
    }


def _live(redis: Redis, wanted: Sequence[tuple[str, str]], fields: Sequence[str]) -> list[list[bytes | None]]:
    pipe = redis.pipeline(transaction=False)
    for _, name in wanted:
        pipe.hmget(keys.event(name), fields)
    return list(pipe.execute())


def _fields(archive: StreamArchive, name: str, fields: Sequence[str]) -> list[bytes | None]:
    event = archive.events.get(name.encode())
    live = event.live() if event else {}
    return [live.get(field.encode()) for field in fields]


def _either(live: bytes | None, archived: Mapping[str, bytes], kind: str) -> bytes | None:
    return archived.get(kind) if live is None else live
