"""What Redis holds of one event, read as programs read it."""

from __future__ import annotations

from typing import Any

from redis import Redis

from deedbox.shared.records.stored_event import (
    BODY,
    FIELDS,
    HEAD,
    PIECE_BYTES,
    StoredEvent,
    body_of,
)


def in_pieces(stored: StoredEvent) -> dict[str, bytes]:
    """Return the fields of its hash as the scripts cut them."""
    flat = stored.fields()
    found: dict[str, bytes] = {}
    for name, each in zip(flat[::2], flat[1::2], strict=True):
        names = {HEAD[0]: HEAD, BODY: FIELDS[len(HEAD) :]}.get(str(name), (str(name),))
        data = each.encode() if isinstance(each, str) else each
        size = PIECE_BYTES if len(data) <= PIECE_BYTES * len(names) else len(data)
        cut = (data[start : start + size] for start in range(0, len(data), size))
        found |= dict(zip(names, cut, strict=False))
    return found


def event_at(redis: Redis, key: str | bytes) -> StoredEvent:
    """Return the event at a key."""
    fields: Any = redis.hgetall(key)
    found = StoredEvent.load("", fields)
    assert isinstance(found, StoredEvent), key
    return found


def body_at(redis: Redis, key: str | bytes) -> bytes:
    """Return its body, in the form that its facts name."""
    fields: Any = redis.hgetall(key)
    return body_of(fields)
