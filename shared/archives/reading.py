"""Reads what is known about streams, whether it is archived or not. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from redis import Redis

from deedbox.shared.archives.stream_archive import StreamArchive
from deedbox.shared.redis import keys

NOTHING: Final = StreamArchive()
PAGE: Final = 1000
"""Names of one reply: nobody knows how many events a stream gets."""


def read(redis: Redis, streams: Iterable[str]) -> dict[str, StreamArchive]:
    """Return the archives that there are and that can be read. Raises RedisError."""
    names = list(dict.fromkeys(streams))
    if not names:
        return {}
    packed: Any = redis.mget([keys.archive(stream) for stream in names])
    now = time.time()
    return {
        stream: archive.without_expired(now)
        for stream, data in zip(names, packed, strict=True)
        if data is not None and (archive := StreamArchive.load(data))
    }


def values(redis: Redis, streams: Sequence[str], *kinds: str) -> list[list[bytes | None]]:
    """Return each stream's values of some kinds: ``order``, ``request``, ``document``. Raises RedisError."""
    if not streams:
        return []
    found: Any = redis.mget([keys.value(kind, stream) for stream in streams for kind in kinds])
    rows = [found[start : start + len(kinds)] for start in range(0, len(found), len(kinds))]
    archives = read(redis, (stream for stream, row in zip(streams, rows, strict=True) if None in row))
    return [
        [
            _either(each, archives.get(stream, NOTHING).values, kind)
            for each, kind in zip(row, kinds, strict=True)
        ]
        for stream, row in zip(streams, rows, strict=True)
    ]


def events(redis: Redis, wanted: Sequence[tuple[str, str]], *fields: str) -> list[list[bytes | None]]:
    """Return fields of stored events, named by stream and fingerprint. Raises RedisError."""
    pipe = redis.pipeline(transaction=False)
    for _, name in wanted:
        pipe.hmget(keys.event(name), fields)
    rows = pipe.execute()
    missing = (stream for (stream, _), row in zip(wanted, rows, strict=True) if not any(row))
    archives = read(redis, missing)
    return [
        row if any(row) else _fields(archives.get(stream, NOTHING), name, fields)
        for (stream, name), row in zip(wanted, rows, strict=True)
    ]


def names_between(redis: Redis, stream: str, since: float | str, until: float | str) -> list[bytes]:
    """Return the names in a stream's dedupe memory of a span of arrivals, archived ones first. Raises RedisError."""
    live: list[bytes] = []
    while page := _page(redis, stream, since, until, len(live)):
        live += page
    archive = read(redis, (stream,)).get(stream, NOTHING)
    archived = [name for name, at in archive.seen.items() if float(since) <= at <= float(until)]
    return list(dict.fromkeys([*archived, *live]))


def _page(redis: Redis, stream: str, since: float | str, until: float | str, start: int) -> list[bytes]:
    found: Any = redis.zrangebyscore(keys.seen(stream), since, until, start, PAGE)
    return list(found)


def first_and_last(redis: Redis, stream: str, first: int, last: int) -> list[bytes]:
    """Return the first and the last names in a stream's dedupe memory, by arrival. Raises RedisError."""
    pipe = redis.pipeline(transaction=False)
    pipe.zrange(keys.seen(stream), 0, first - 1)
    pipe.zrange(keys.seen(stream), -last, -1)
    begun, ended = pipe.execute()
    archived = list(read(redis, (stream,)).get(stream, NOTHING).seen)
    begun, ended = [*archived[:first], *begun][:first], [*archived[-last:], *ended][-last:]
    return list(dict.fromkeys([*begun, *ended]))


def finds_of(redis: Redis, stream: str) -> set[str]:
    """Return the terms of the look-ups that find a request. Raises RedisError."""
    live: Any = redis.hkeys(keys.finds(stream))
    archived = read(redis, (stream,)).get(stream, NOTHING).finds
    return {term.decode("utf-8", "replace") for term in (*live, *archived)}


def exist(redis: Redis, streams: Sequence[str]) -> list[bool]:
    """Return of each stream whether anything is known that happened to it. Raises RedisError."""
    pipe = redis.pipeline(transaction=False)
    for stream in streams:
        pipe.exists(keys.timeline(stream), keys.archive(stream))
    return [bool(found) for found in pipe.execute()]


def _fields(archive: StreamArchive, name: str, fields: Sequence[str]) -> list[bytes | None]:
    event = archive.events.get(name.encode())
    live = event.live() if event else {}
    return [live.get(field.encode()) for field in fields]


def _either(live: bytes | None, archived: Mapping[str, bytes], kind: str) -> bytes | None:
    return archived.get(kind) if live is None else live
