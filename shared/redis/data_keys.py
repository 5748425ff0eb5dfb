"""The data key of each stream: it seals what Redis holds about a request, and dies with it.

One key per source and ordering key, wrapped by the key ring: ``key:<stream>``. Bodies, the read model and free texts of the
timeline and of dead letters are sealed by it, each with its identity as associated data, so that no sealed text can stand in
for another one. An erasure destroys the key; a rotation wraps it anew, and touches nothing else.

A process keeps keys in memory for ``CACHE_S``. That is far less than a tombstone and an unused key live: a key out of the cache
is never one that was replaced meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from redis import Redis

from deedbox.shared import sealing
from deedbox.shared.core.errors import KeyMissing, Unavailable, Undecodable
from deedbox.shared.records.stored_event import SEALED, StoredEvent
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import Scripts

if TYPE_CHECKING:
    from deedbox.shared.sealing.key_ring import DataKey

CACHE_S: Final = 60.0
CACHE_KEYS: Final = 4096

_VALUE: Final = b"\0key:"
"""Begins a sealed value of Redis; a plain one is JSON."""

_TEXT: Final = "sealed:"
"""Begins a sealed text."""


class _Cached(NamedTuple):
    key: DataKey
    until: float


_caches: WeakKeyDictionary[Any, dict[str, _Cached]] = WeakKeyDictionary()


def wrapping(stream: str) -> bytes:
    """Return the identity of a wrapped data key."""
    return b"data key\0" + stream.encode()


class Keys:
    """The data keys of some streams, as far as there are any and the ring can unwrap them."""

    def __init__(self, found: Mapping[str, DataKey], missing: Mapping[str, KeyMissing]) -> None:
        self._found = found
        self.missing = missing
        """Streams whose key the ring cannot unwrap."""

    def of(self, stream: str) -> DataKey:
        """Return a stream's key. Raises KeyMissing, and Undecodable if it was destroyed or has expired."""
        if stream in self.missing:
            raise self.missing[stream]
        if stream not in self._found:
            raise Undecodable("the key of an encrypted text is gone: its request was erased, or has expired")
        return self._found[stream]

    def opened(self, stored: StoredEvent) -> StoredEvent:
        """Return an event with its body as it came. Raises KeyMissing, Undecodable."""
        if not stored.is_sealed:
            return stored
        body = self.of(stored.stream).open(stored.body, stored.identity)
        return replace(stored, body=body, codec=stored.codec.removeprefix(SEALED))

    def sealed(self, stored: StoredEvent) -> StoredEvent:
        """Inverse of ``opened``, where this process encrypts. Raises KeyMissing."""
        if sealing.ring() is None or stored.is_sealed:
            return stored
        body = self.of(stored.stream).seal(stored.body, stored.identity)
        return replace(stored, body=body, codec=SEALED + stored.codec)

    def open_value(self, stream: str, data: bytes) -> bytes:
        """Return a value of Redis as it was given to ``seal_value``. Raises KeyMissing, Undecodable."""
        if not data.startswith(_VALUE):
            return data
        return self.of(stream).open(data[len(_VALUE) :], b"value\0" + stream.encode())

    def readable(self, stream: str, data: bytes) -> bytes:
        """Return a value for a reader that goes on without it: empty if it cannot be opened."""
        try:
            return self.open_value(stream, data)
        except Undecodable:
            return b""

    def seal_value(self, stream: str, data: bytes) -> bytes:
        """Seal the value of a key that a stream has one of. Raises KeyMissing."""
        if sealing.ring() is None:
            return data
        return _VALUE + self.of(stream).seal(data, b"value\0" + stream.encode())

    def open_text(self, stream: str, text: str) -> str:
        """Return a text as it was given to ``seal_text``. Raises KeyMissing, Undecodable."""
        if not text.startswith(_TEXT):
            return text
        try:
            data = base64.b64decode(text[len(_TEXT) :], validate=True)
        except (binascii.Error, ValueError):
            return text  # a text that only looks like one
        return self.of(stream).open(data, b"text\0" + stream.encode()).decode("utf-8", "replace")

    def readable_text(self, stream: str, text: str) -> str:
        """Return a text for a reader that goes on without it: what hides it, if it cannot be opened."""
        try:
            return self.open_text(stream, text)
        except Undecodable as error:
            return f"(encrypted: {error})"

    def seal_text(self, stream: str, text: str) -> str:
        """Seal a text that an action wrote. Raises KeyMissing."""
        if sealing.ring() is None:
            return text
        sealed = self.of(stream).seal(text.encode("utf-8", "replace"), b"text\0" + stream.encode())
        return _TEXT + base64.b64encode(sealed).decode()


NONE: Final = Keys({}, {})
"""For what is not sealed."""


def is_sealed(data: bytes | str | None) -> bool:
    """Return whether a value or a text is sealed."""
    if isinstance(data, bytes):
        return data.startswith(_VALUE)
    return data is not None and data.startswith(_TEXT)


def ensure(scripts: Scripts, streams: Iterable[str], life_s: int) -> Keys:
    """Return the keys of streams that are about to be written; those that there are not are made.

    Of a stream that was erased it is a key that nothing holds: its writer finds the tombstone. Raises Unavailable.
    """
    ring = sealing.ring()
    if ring is None:
        return NONE
    from deedbox.shared.sealing.key_ring import DataKey

    found, wanted = _known(scripts.redis, streams)
    if not wanted:
        return Keys(found, {})
    made = {stream: DataKey.new() for stream in wanted}
    offered = [(stream, key.id, key.wrapped(ring, wrapping(stream))) for stream, key in made.items()]
    replies = script_calls.data_keys(scripts, life_s=life_s, ring_key=ring.current, offers=offered)
    missing: dict[str, KeyMissing] = {}
    cache = _cache(scripts.redis)
    for (stream, _, offer), wrapped in zip(offered, replies, strict=True):
        if wrapped is None or wrapped == offer:
            found[stream] = made[stream]
        else:
            _take(stream, wrapped, found, missing)
        if wrapped is not None and stream in found:
            cache[stream] = _Cached(found[stream], time.monotonic() + CACHE_S)
    return Keys(found, missing)


def find(redis: Redis, streams: Iterable[str]) -> Keys:
    """Return the keys that there are, for reading. Raises Unavailable."""
    found, wanted = _known(redis, streams)
    if not wanted:
        return Keys(found, {})
    pipe = redis.pipeline(transaction=False)
    for stream in wanted:
        pipe.hget(keys.data_key(stream), "wrapped")
    with translating():
        replies = pipe.execute()
    missing: dict[str, KeyMissing] = {}
    cache = _cache(redis)
    for stream, wrapped in zip(wanted, replies, strict=True):
        if wrapped is not None:
            _take(stream, wrapped, found, missing)
        if stream in found:
            cache[stream] = _Cached(found[stream], time.monotonic() + CACHE_S)
    return Keys(found, missing)


def open_value(redis: Redis, stream: str, data: bytes) -> bytes:
    """Return the value of a key that a stream has one of; empty if it cannot be opened any more.

    Raises Unavailable if the ring lacks the key: what is not known for now must be taken neither for empty nor for gone.
    """
    if not is_sealed(data):
        return data
    try:
        return find(redis, (stream,)).open_value(stream, data)
    except KeyMissing as error:
        raise Unavailable(str(error)) from error
    except Undecodable:
        return b""


def opened(redis: Redis, *events: StoredEvent) -> list[StoredEvent]:
    """Return events with their bodies as they came. Raises KeyMissing, Undecodable, Unavailable."""
    found = find(redis, [each.stream for each in events if each.is_sealed])
    return [found.opened(each) for each in events]


def _take(stream: str, wrapped: bytes, found: dict[str, DataKey], missing: dict[str, KeyMissing]) -> None:
    from deedbox.shared.sealing.key_ring import DataKey, sealed_by

    ring = sealing.ring()
    if ring is None:
        missing[stream] = KeyMissing(sealed_by(wrapped))
        return
    try:
        found[stream] = DataKey.unwrap(ring, wrapped, wrapping(stream))
    except KeyMissing as error:
        missing[stream] = error
    except Undecodable:
        pass  # damaged: as good as gone


def _known(redis: Redis, streams: Iterable[str]) -> tuple[dict[str, DataKey], list[str]]:
    """Return the keys that the cache has, and the streams whose key it has not."""
    cache, now = _cache(redis), time.monotonic()
    found: dict[str, DataKey] = {}
    wanted: list[str] = []
    for stream in dict.fromkeys(streams):
        cached = cache.get(stream)
        if cached is not None and cached.until > now:
            found[stream] = cached.key
        else:
            wanted.append(stream)
    return found, wanted


def _cache(redis: Redis) -> dict[str, _Cached]:
    cache = _caches.setdefault(redis.connection_pool, {})
    if len(cache) > CACHE_KEYS:
        cache.clear()
    return cache
