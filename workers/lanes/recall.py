"""What the callbacks of a request have shown so far: for ``event.last_known``. Read only when an action asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.archives import reading as archives
from deedbox.shared.core.errors import KeyMissing, Unavailable, Undecodable
from deedbox.shared.core.request_snapshot import request_of
from deedbox.shared.core.routing import DEFAULT_RANK, RANKS
from deedbox.shared.records.queue_entry import FINGERPRINT_CHARS
from deedbox.shared.records.stored_event import FIELDS, StoredEvent, present
from deedbox.shared.redis import data_keys
from deedbox.workers.actions.interface import Retry

FIRST: Final = 20
LAST: Final = 80
"""Events of one request that are read, by arrival: the first show its metadata, the last its present state."""


def recall(redis: Redis, stream: str) -> list[Mapping[str, Any]]:
    """Return the snapshots of a stream that are still stored, best first. Raises Retry if Redis does not answer."""
    try:
        return snapshots(stored_events(redis, stream))
    except (RedisError, Unavailable):
        raise Retry("Redis does not answer") from None
    except KeyMissing as error:
        raise Retry(str(error)) from None
    except Undecodable:
        return []


def snapshots(events: Iterable[StoredEvent]) -> list[Mapping[str, Any]]:
    """Return the ``signature_request`` of each event, best first: the more trusted, then the later one."""
    ranked = sorted(events, key=_worth, reverse=True)
    return [request_of(payload) for each in ranked if (payload := each.payload())]


def _worth(stored: StoredEvent) -> tuple[int, int, int]:
    return stored.trust, stored.event_time, RANKS.get(stored.event_type, DEFAULT_RANK)


def stored_events(redis: Redis, stream: str) -> list[StoredEvent]:
    """Return the first and the last events of a stream that are still stored, by arrival. Raises RedisError."""
    names = archives.first_and_last(redis, stream, FIRST, LAST)
    # The names of other bodies are longer: what a conflict is about waits for an operator.
    found = [name.decode() for name in names if len(name) == FINGERPRINT_CHARS]
    rows = archives.events(redis, [(stream, name) for name in found], *FIELDS)
    loaded = [StoredEvent.load(name, present(row)) for name, row in zip(found, rows, strict=True)]
    return data_keys.opened(redis, *(each for each in loaded if isinstance(each, StoredEvent)))
