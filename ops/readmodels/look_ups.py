"""Signature requests by signature id, metadata or state: pages of an index, never a look through all keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

from deedbox.ops.readmodels import requests
from deedbox.ops.readmodels.requests import SignatureRequest
from deedbox.shared.archives import reading as archives
from deedbox.shared.core.request_snapshot import term
from deedbox.shared.core.status import SIGNABLE
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text

CHUNK: Final = 200
LOOKED_MAX: Final = 2000
"""Entries that one page looks at: a filter that few fit gets a short page, and the place to go on from."""

KIND: Final = "signature_request/"
"""How the ordering keys of requests begin."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """What is looked for; all of it must fit."""

    source: str
    signature_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    test_mode: bool | None = None
    before: str = ""
    """Where the last page ended."""
    limit: int = 50

    def index(self) -> str:
        """Return the key of the narrowest index that holds what is looked for."""
        for name, value in self.metadata.items():
            return keys.find(term(self.source, f"metadata.{name}", value))
        if self.signature_id:
            return keys.find(term(self.source, "signature_id", self.signature_id))
        return keys.find(term(self.source, "state", self.state)) if self.state else keys.STREAMS

    def others(self) -> list[str]:
        """Return the terms of the other indexes that it must be in."""
        names = [(f"metadata.{name}", value) for name, value in self.metadata.items()]
        names += [("signature_id", self.signature_id)] if self.signature_id else []
        return [term(self.source, *each) for each in names]


@dataclass(frozen=True, slots=True)
class RequestPage:
    """One page."""

    requests: list[SignatureRequest]
    next: str | None
    """What continues as ``before``; None: there are no more."""


@translating()
def look_up(redis: Redis, wanted: LookUp) -> RequestPage:
    """Find a page, the latest change first; of all requests, that of the latest callback. Raises Unavailable; ValueError for a ``before`` that no page gave."""
    found: list[SignatureRequest] = []
    looked, last = 0, ""
    for place, name in _rows(redis, wanted.index(), _place(wanted.before)):
        if looked >= LOOKED_MAX or len(found) >= wanted.limit:
            return RequestPage(found, last)
        looked, last = looked + 1, place
        # The index of all names streams, those of a term ids of its source.
        stream = name if wanted.index() == keys.STREAMS else f"{wanted.source}:{KIND}{name}"
        request = _fitting(redis, stream, wanted)
        if request is not None:
            found.append(request)
    return RequestPage(found, None)


@translating()
def waiting_longest(
    redis: Redis, sources: tuple[str, ...], limit: int
) -> list[tuple[float, SignatureRequest]]:
    """Return the requests that wait for signers and have not changed for longest, with when they changed last."""
    rows: list[tuple[float, str]] = []
    indexes = [(source, state) for source in sources for state in sorted(SIGNABLE)]
    pipe = redis.pipeline(transaction=False)
    for source, state in indexes:
        pipe.zrange(keys.find(term(source, "state", state)), 0, limit - 1, withscores=True)
    for (source, _), reply in zip(indexes, pipe.execute(), strict=True):
        rows += [(float(score), f"{source}:{KIND}{text(name)}") for name, score in reply]
    requests = ((at, _read(redis, stream)) for at, stream in sorted(rows)[:limit])
    return [(at, request) for at, request in requests if request is not None]


def _rows(redis: Redis, index: str, before: tuple[float, str] | None) -> Iterator[tuple[str, str]]:
    """Yield place and name, newest first. Those of one moment are in the order of their names, backwards."""
    upper: Any = "+inf" if before is None else before[0]
    start = 0
    while True:
        rows: Any = redis.zrevrangebyscore(index, upper, "-inf", start=start, num=CHUNK, withscores=True)
        for member, score in rows:
            name = text(member)
            if before is None or (score, name) < before:
                yield f"{score!r}~{name}", name
        if len(rows) < CHUNK:
            return
        start += CHUNK


def _place(before: str) -> tuple[float, str] | None:
    if not before:
        return None
    at, _, name = before.partition("~")
    if not name:
        raise ValueError("is no place that an earlier page gave as next")
    return float(at), name


def _fitting(redis: Redis, stream: str, wanted: LookUp) -> SignatureRequest | None:
    if not stream.startswith(f"{wanted.source}:{KIND}"):
        return None
    terms = wanted.others()
    if terms and not archives.finds_of(redis, stream).issuperset(terms):
        return None
    request = _read(redis, stream)
    if request is None or (wanted.state and request.state != wanted.state):
        return None
    return request if wanted.test_mode in {None, bool(request.test_mode)} else None


def _read(redis: Redis, stream: str) -> SignatureRequest | None:
    source, _, key = stream.partition(":")
    return requests.read(redis, source, key.partition("/")[2])
