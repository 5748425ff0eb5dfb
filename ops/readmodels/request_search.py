"""Signature requests as people look for them: by id or by a part of the title, among the latest ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from redis import Redis

from deedbox.ops.readmodels import timeline
from deedbox.ops.readmodels.look_ups import KIND
from deedbox.shared.archives import reading as archives
from deedbox.shared.core.request_snapshot import time_of
from deedbox.shared.records import read_model
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.data_keys import Keys
from deedbox.shared.redis.scripting import text

CHUNK: Final = 200
HITS_MAX: Final = 50
STREAMS_PER_REQUEST: Final = 5
"""Streams that are looked at for each request: there are others, of accounts, templates and faxes."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One signature request."""

    source: str
    ordering_key: str
    state: str = ""
    trust: str = ""
    """Level of trust of the state."""
    title: str = ""
    signed: int = 0
    signers: int = 0
    updated_at: float | None = None
    """Unix seconds of its latest event."""
    test_mode: bool = False

    @property
    def identifier(self) -> str:
        """The id, without its kind."""
        return self.ordering_key.partition("/")[2]


@dataclass(frozen=True, slots=True)
class FoundRequests:
    """What a search found."""

    hits: list[Hit]
    more: bool
    """There are more hits than are listed."""
    searched: int
    """How many of the latest requests were looked at for titles."""


@translating()
def search(redis: Redis, sources: Sequence[str], query: str) -> FoundRequests:
    """Find requests whose id is ``query``, or whose id or title contains it; all of them for an empty query.

    Ids are found among everything that has a timeline, titles among the ``REQUESTS_KEEP`` latest requests. Raises
    Unavailable.
    """
    query = query.strip()
    exact = [_hit(redis, *place) for place in timeline.elsewhere(redis, sources, query)] if query else []
    hits, searched = dict.fromkeys(exact), 0
    for hit in islice(_latest(redis), keys.REQUESTS_KEEP):
        searched += 1
        if _fits(hit, query.casefold()):
            hits.setdefault(hit)
        if len(hits) > HITS_MAX:
            break
    listed = list(hits)[:HITS_MAX]
    if not query:  # by the time that is shown; the index is by arrival
        listed.sort(key=lambda hit: hit.updated_at or 0, reverse=True)
    return FoundRequests(listed, len(hits) > HITS_MAX, searched)


def _fits(hit: Hit, needle: str) -> bool:
    return not needle or needle in hit.title.casefold() or needle in hit.ordering_key.casefold()


def _hit(redis: Redis, source: str, ordering_key: str) -> Hit:
    stream = f"{source}:{ordering_key}"
    [[model]] = archives.values(redis, [stream], "request")
    return _described(source, ordering_key, model, data_keys.find(redis, _sealed((stream,), (model,))))


def _latest(redis: Redis) -> Iterator[Hit]:
    """Read the index chunk by chunk, newest first. Streams without a read model are left out."""
    for start in range(0, STREAMS_PER_REQUEST * keys.REQUESTS_KEEP, CHUNK):
        rows: list[Any] = redis.zrange(keys.STREAMS, start, start + CHUNK - 1, desc=True)
        if not rows:
            return
        streams = [stream for stream in map(text, rows) if stream.partition(":")[2].startswith(KIND)]
        models = [model for [model] in archives.values(redis, streams, "request")]
        found = data_keys.find(redis, _sealed(streams, models))
        for stream, model in zip(streams, models, strict=True):
            if model is not None:
                source, _, ordering_key = stream.partition(":")
                yield _described(source, ordering_key, model, found)


def _sealed(streams: Sequence[str], models: Sequence[Any]) -> list[str]:
    return [stream for stream, model in zip(streams, models, strict=True) if data_keys.is_sealed(model)]


def _described(source: str, ordering_key: str, model: Any, found: Keys) -> Hit:
    stream = f"{source}:{ordering_key}"
    row = (read_model.load(found.readable(stream, model)) or {}) if model else {}
    states = [place for place in row.get("signers", {}).values() if place != "removed"]
    return Hit(
        source,
        ordering_key,
        str(row.get("state", "")),
        str(row.get("trust", {}).get("state", "")),
        str(row.get("title") or ""),
        states.count("signed"),
        len(states),
        time_of(row.get("updated_at")),
        test_mode=bool(row.get("test_mode")),
    )
