"""What Redis holds of one event, read as programs read it."""

from __future__ import annotations

from typing import Any

from redis import Redis

from deedbox.shared.core import jsontext
from deedbox.shared.records.stored_event import body_of, head_text


def head_at(redis: Redis, key: str | bytes) -> dict[str, Any]:
    """Return the facts of the event at a key."""
    fields: Any = redis.hgetall(key)
    found: dict[str, Any] = jsontext.loads(head_text(fields))
    return found


def body_at(redis: Redis, key: str | bytes) -> bytes:
    """Return its body, in the form that its facts name."""
    fields: Any = redis.hgetall(key)
    return body_of(fields)
