"""All that a Redis holds, for laws of what must not be left in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from redis import Redis

from deedbox.shared.redis import keys


def everything(redis: Redis) -> dict[str, bytes]:
    """Return each key with all that it holds, as searchable bytes."""
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": redis.get, b"hash": redis.hgetall, b"list": lambda key: redis.lrange(key, 0, -1),
        b"zset": lambda key: redis.zrange(key, 0, -1), b"set": redis.smembers, b"stream": redis.xrange,
    }  # fmt: skip
    names = cast("list[bytes]", list(redis.scan_iter()))
    return {name.decode(): repr(read[cast("bytes", redis.type(name))](name)).encode() for name in names}


def traces(redis: Redis, *words: str) -> set[str]:
    """Return the keys that name or hold one of the words; not the clean stream, which keeps ids until it is cut."""
    found = {name: held for name, held in everything(redis).items() if name != keys.EVENTS}.items()
    return {name for name, held in found for word in words if word in name or word.encode() in held}
