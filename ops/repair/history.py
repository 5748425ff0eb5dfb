"""The stored events of the past: which streams have some in a span of time, and which these are.

A stream's dedupe memory (``seen:<stream>``) knows each of its events by fingerprint and arrival, so that neither
bodies nor events of other times are read. The index of streams knows when something was stored about each last: what has
events in a span stands there behind its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from deedbox.ops.repair import index_pages
from deedbox.ops.repair.progress import Tell, unheard
from deedbox.shared.archives import reading as archives
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.ordering import Position
from deedbox.shared.core.routing import INTERNAL_PREFIX
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.records.replay_order import ReplaySpan
from deedbox.shared.records.stored_event import ASIDE, HEAD, StoredEvent, present
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text


@dataclass(frozen=True, slots=True)
class PastEvent:
    """A stored event that was released, without its body."""

    type: str
    position: Position
    arrived_at: float

    @property
    def fingerprint(self) -> str:
        """Identity of the fact."""
        return self.position.fingerprint

    @property
    def internal(self) -> bool:
        """Whether Deedbox itself emitted it."""
        return self.type.startswith(INTERNAL_PREFIX)


@dataclass(slots=True)
class Past:
    """What is left of one stream's span."""

    events: list[PastEvent] = field(default_factory=list)
    """In position order."""
    expired: int = 0
    """Events whose bodies are gone."""
    held: int = 0
    """Events that wait for a predecessor; they have yet to be released."""
    aside: int = 0
    """Events that were set aside instead of released."""


def demand_index(redis: Redis) -> None:
    """Refuse while the index of streams may lack some. Raises Unavailable, RedisError."""
    if redis.exists(keys.FOREIGN_SUSPECTED):
        raise Unavailable(
            "A key of Redis that another program wrote is being looked for, which takes some minutes; try again then."
        )


class History:
    """Reads the past. Every method raises Unavailable if Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @translating()
    def streams(self, source: str, span: ReplaySpan, tell: Tell = unheard) -> list[str]:
        """Find the streams that have events in the span; of one source, or of all if it is empty."""
        found: dict[str, None] = {}
        begins = f"{source}:" if source else ""
        demand_index(self._redis)
        looked, total = 0, self._redis.zcount(keys.STREAMS, span.since, "+inf")
        for page in index_pages.oldest_first(self._redis, keys.STREAMS, span.since):
            streams = [stream for stream in page if stream.startswith(begins)]
            pipe = self._redis.pipeline(transaction=False)
            for stream in streams:
                pipe.zcount(keys.seen(stream), span.since, span.until)
                pipe.exists(keys.archive(stream))
            replies = pipe.execute()
            for stream, events, archived in zip(streams, replies[::2], replies[1::2], strict=True):
                # Whether an archive has some is seen when it is read.
                if events or archived:
                    found[stream] = None  # a page may name a stream again that goes on
            looked += len(page)
            tell("looking for events", looked, total)
        return list(found)

    @translating()
    def past(self, stream: str, span: ReplaySpan) -> Past:
        """Read a stream's released events of the span, in position order."""
        past = Past()
        known = archives.names_between(self._redis, stream, span.since, span.until)
        # <fingerprint>:<digest> is another body of a fact, not an event until it is applied.
        fingerprints = [name for name in map(text, known) if ":" not in name]
        for start in range(0, len(fingerprints), index_pages.PAGE):
            past.events += self._read(stream, fingerprints[start : start + index_pages.PAGE], past)
        past.events.sort(key=lambda event: event.position)
        return past

    def _read(self, stream: str, fingerprints: list[str], past: Past) -> Iterator[PastEvent]:
        held: Any = self._redis.zmscore(keys.HELD, fingerprints)
        rows = archives.events(self._redis, [(stream, each) for each in fingerprints], *HEAD, ASIDE)
        for fingerprint, held_since, row in zip(fingerprints, held, rows, strict=True):
            event = _event(fingerprint, row)
            if event is None:
                past.expired += 1
            elif held_since is not None:
                past.held += 1
            elif row[-1] is not None:
                past.aside += 1
            else:
                yield event


def _event(fingerprint: str, row: list[Any]) -> PastEvent | None:
    stored = StoredEvent.load(fingerprint, present(row[: len(HEAD)]))
    if not stored:
        return None
    arrival = arrival_of(stored.event_type, stored.event_time, stored.related_signature_id, fingerprint, {})
    return PastEvent(stored.event_type, arrival.position, stored.arrived_at)
