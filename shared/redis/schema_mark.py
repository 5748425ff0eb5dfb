"""The mark of a Redis: the schema version of what Deedbox keeps there. A start refuses a store that it cannot read."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from redis import Redis
from redis.exceptions import ResponseError

from deedbox.shared.core.envelope import SCHEMA_VERSION
from deedbox.shared.redis import keys

_UNMARKED: Final = (keys.PREFIX + "lanes", keys.PREFIX + "lane:sequencer:ready")
"""What only versions before 0.2.0 wrote, which wrote no mark."""


def trouble(redis: Redis) -> str | None:
    """Return why this version cannot read what is there, as a clause; None if it can. Raises redis-py's errors."""
    mark = redis.get(keys.SCHEMA)
    if mark is None:
        if redis.exists(*_UNMARKED):
            return "its data is of a Deedbox before 0.2.0, which this version cannot read"
        return None
    text = bytes(mark).decode("ascii", "replace")  # type: ignore[arg-type]
    if text.isdigit() and int(text) > SCHEMA_VERSION:
        return f"its data is of a newer Deedbox (schema version {text}; this version reads {SCHEMA_VERSION})"
    return None


def write(redis: Redis) -> None:
    """Mark a store that has no mark. A Redis that takes no write now is marked at the next start."""
    with suppress(ResponseError):
        redis.set(keys.SCHEMA, SCHEMA_VERSION, nx=True)
