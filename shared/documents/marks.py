"""Which document stores there are. A file tree belongs to one host, unless several mount it; a bucket is everybody's.

Each store has a mark file with a random id; Redis remembers for each id which host stored there last. So hosts learn of
documents that they cannot read, in place of believing that these are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis import Redis

from deedbox.shared.records.document_record import DocumentRecord, StoreMark
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text


class StoreMarks:
    """The marks in Redis. Every method raises Unavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def all(self) -> list[StoreMark]:
        """Return the stores that are known, the one that was used last first."""
        with translating():
            rows: Any = self._redis.hgetall(keys.STORES)
        found = (StoreMark.load(text(store), row) for store, row in rows.items())
        return sorted((mark for mark in found if mark), key=lambda mark: -mark.used_at)

    def note(self, mark: StoreMark, keep_s: float) -> None:
        """Note that a document was stored, and forget the stores in which none was for so long."""
        known = {each.store for each in self.all() if each.used_at >= mark.used_at - keep_s}
        with translating():
            fields: Any = self._redis.hkeys(keys.STORES)
            if gone := [name for name in map(text, fields) if name not in known]:
                self._redis.hdel(keys.STORES, *gone)
            self._redis.hset(keys.STORES, mark.store, mark.dump())


def elsewhere(record: bytes | None, own: str | None, here: Iterable[str]) -> set[str]:
    """Return the stores of a document record's versions that cannot be read here.

    ``own``: the id of this host's store; ``here``: SHA-256 of what it holds for the request, whatever its id is.
    """
    versions, held = (DocumentRecord.load(record) or DocumentRecord()).versions, set(here)
    return {each["store"] for each in versions if each["sha256"] not in held} - {own}
