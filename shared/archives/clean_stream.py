"""Finds the stream of an event by its fingerprint alone, in the clean stream: the only index of fingerprints."""

from __future__ import annotations

from typing import Any, Final

from redis import Redis

from deedbox.shared.records.clean_entry import CleanEntry
from deedbox.shared.redis import keys

PIECE: Final = 1000
"""Entries of one round trip. All of them are 100,000 by default: about a second, for a person who waits."""


def stream_of(redis: Redis, fingerprint: str) -> str | None:
    """Return the stream of a released event, looking back from the newest; None if the clean stream has it no longer. Raises RedisError."""
    before = "+"
    while rows := _rows(redis, before):
        for _, fields in rows:
            entry = CleanEntry.load(fields)
            if entry and entry.fingerprint == fingerprint:
                return entry.stream
        before = "(" + rows[-1][0].decode()
    return None


def _rows(redis: Redis, before: str) -> list[Any]:
    found: Any = redis.xrevrange(keys.EVENTS, before, "-", count=PIECE)
    return list(found)
