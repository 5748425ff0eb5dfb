"""What Redis holds of one event, read as programs read it."""

from __future__ import annotations

from typing import Any

from redis import Redis

from deedbox.shared.records.stored_event import StoredEvent, body_of


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
