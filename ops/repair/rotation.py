"""Rotation: wraps every live data key anew, under the current key of the ring, and says which ring keys are done with.

It may be killed at any point, and runs beside every other process: each key is replaced in one step, and only if it is still
the one that was read. Whatever was wrapped before stays readable as long as its ring key stays in the ring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

from deedbox.ops.installation import Installation
from deedbox.ops.repair import index_pages
from deedbox.ops.repair.history import demand_index
from deedbox.ops.repair.progress import Tell, unheard
from deedbox.shared import sealing
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.envelope import Envelope, decode_inbox
from deedbox.shared.core.errors import KeyMissing, Undecodable
from deedbox.shared.core.identity import SHARDS
from deedbox.shared.redis import data_keys, keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text
from deedbox.shared.sealing.envelopes import sealer
from deedbox.shared.sealing.key_ring import KeyRing, sealed_by

CHUNK: Final = 500
"""Messages that are read in one round trip."""


@dataclass(slots=True)
class Rotation:
    """What a rotation did, and what is left."""

    current: str
    rewrapped: int = 0
    documents: int = 0
    """Requests whose documents have their key under the current ring key now."""
    damaged: int = 0
    """Wrapped keys that no ring key opens."""
    missing: Counter[str] = field(default_factory=Counter)
    """Ring keys that something needs and the ring lacks -> how many data keys."""
    waiting: Counter[str] = field(default_factory=Counter)
    """Callbacks that wait, by the ring key that sealed them."""
    unseen: list[str] = field(default_factory=list)
    """Places that could not be looked into, and hold something."""
    removable: list[str] = field(default_factory=list)
    """Keys of the ring that nothing needs any more."""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "current": self.current, "rewrapped": self.rewrapped, "documents": self.documents,
            "damaged": self.damaged, "missing": dict(self.missing), "waiting": dict(self.waiting),
            "unseen": self.unseen, "removable": self.removable,
        }  # fmt: skip


@translating()
def rotate(installation: Installation, tell: Tell = unheard) -> Rotation:
    """Wrap all keys anew. This process has a ring. Raises Unavailable."""
    ring = sealing.ring()
    if ring is None:
        raise LookupError("no key ring")
    found = Rotation(ring.current)
    _rewrap(installation, ring, found, tell)
    documents = installation.documents.rewrap()
    found.documents = documents.done
    found.damaged += documents.damaged
    found.missing.update(documents.missing)
    # In the direction of the flow: what moves on meanwhile is met further down.
    _look_at_waiting(installation, found, tell)
    _release(installation.redis, ring, found)
    return found


def _rewrap(installation: Installation, ring: KeyRing, found: Rotation, tell: Tell) -> None:
    redis, looked = installation.redis, 0
    demand_index(redis)
    total = int(redis.zcard(keys.STREAMS))
    for streams in index_pages.oldest_first(redis, keys.STREAMS):
        pipe = redis.pipeline(transaction=False)
        for stream in streams:
            pipe.hget(keys.data_key(stream), "wrapped")
        rows = []
        for stream, wrapped in zip(streams, pipe.execute(), strict=True):
            if wrapped is None or sealed_by(wrapped) == ring.current:
                continue
            try:
                rows.append((stream, wrapped, ring.rewrapped(wrapped, data_keys.wrapping(stream))))
            except KeyMissing as error:
                found.missing[error.key_id] += 1
            except Undecodable:
                found.damaged += 1
        if rows:
            found.rewrapped += script_calls.rewrap(installation.scripts, ring_key=ring.current, rows=rows)
        looked += len(streams)
        tell("wrapping keys", looked, total)


def _look_at_waiting(installation: Installation, found: Rotation, tell: Tell) -> None:
    redis, server = installation.redis, installation.broker.server
    spooled = redis.hlen(keys.SPOOLS)
    if spooled:
        found.unseen.append("callbacks in the spool of a host")
    if server is not None:
        _count(found, _listed(server.client, keys.RAW_QUEUE), _of_message)
        for bridges in index_pages.oldest_first(server.client, keys.BRIDGE_LEASES):
            for bridge in bridges:
                _count(found, _listed(server.client, keys.claimed(bridge)), _of_message)
    elif installation.broker.look().depth != 0:
        found.unseen.append("callbacks in the broker")
    for shard in range(SHARDS):
        tell("looking through the inbox", shard, SHARDS)
        _count(found, _listed(redis, keys.inbox(shard)), _of_entry)
    _count(found, _listed(redis, keys.REDRIVE), _of_message)
    for ids in index_pages.oldest_first(redis, keys.DEAD):
        pipe = redis.pipeline(transaction=False)
        for each in ids:
            pipe.hget(keys.dead(each), "raw")
        _count(found, (raw for raw in pipe.execute() if raw is not None), _of_message)


def _release(redis: Redis, ring: KeyRing, found: Rotation) -> None:
    """Note which ring keys nothing needs any more: ``check`` does not ask for them again."""
    if found.unseen:
        return
    noted = {text(name) for name in redis.hkeys(keys.RING_KEYS)}
    needed = {ring.current, *found.waiting, *found.missing}
    found.removable = [name for name in ring.ids if name not in needed]
    done = noted - needed
    if done:
        redis.hdel(keys.RING_KEYS, *done)


def _count(found: Rotation, messages: Iterable[bytes], envelope_of: Callable[[bytes], Envelope]) -> None:
    for message in messages:
        try:
            name = sealer(envelope_of(message))
        except (Undecodable, RecursionError):
            continue  # no callback of ours
        if name is not None and name != found.current:
            found.waiting[name] += 1


def _of_message(message: bytes) -> Envelope:
    return Envelope.from_headers(*decode_kombu(message))


def _of_entry(entry: bytes) -> Envelope:
    return decode_inbox(entry)[1]


def _listed(redis: Redis, name: str) -> Iterator[bytes]:
    """Read a list from its end, where what is taken next is or what came last; items may move meanwhile."""
    start = 0
    while piece := redis.lrange(name, start, start + CHUNK - 1):
        yield from piece  # type: ignore[misc]  # clients here do not decode
        start += CHUNK
