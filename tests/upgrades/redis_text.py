"""The content of a Redis as JSON lines: readable in a diff, and loaded by any version of Redis or Valkey."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from redis import Redis


def save(redis: Redis, path: Path) -> None:
    """Write all keys, one a line, by name."""
    names: list[bytes] = sorted(redis.scan_iter(count=1000))
    with path.open("w", encoding="utf-8") as file:
        for name in names:
            kind = redis.type(name).decode()  # type: ignore[union-attr]
            read, _ = _KINDS[kind]
            row = {"key": _text(name), "type": kind, "lives_ms": redis.pttl(name), "value": read(redis, name)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def load(redis: Redis, path: Path) -> None:
    """Write what ``save`` read. A key lives as long from now on as it had to live then."""
    for row in rows(path):
        name = _bytes(row["key"])
        _, write = _KINDS[row["type"]]
        write(redis, name, row["value"])
        if row["lives_ms"] >= 0:
            redis.pexpire(name, max(1, row["lives_ms"]))


def rows(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a file that ``save`` wrote."""
    # Not splitlines: for it, U+0085 within a value ends a line too.
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _text(data: bytes) -> str:
    return data.decode("latin-1")  # each byte is one character


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _pairs(found: Any) -> list[list[str]]:
    return sorted([_text(name), _text(value)] for name, value in found.items())


def _flat(pairs: list[list[str]]) -> list[bytes]:
    return [_bytes(text) for pair in pairs for text in pair]


def _read_stream(redis: Redis, name: bytes) -> list[Any]:
    entries: Any = redis.xrange(name)
    return [[_text(number), _pairs(fields)] for number, fields in entries]


def _write_stream(redis: Redis, name: bytes, value: list[Any]) -> None:
    for number, pairs in value:
        redis.execute_command("XADD", name, number, *_flat(pairs))  # type: ignore[no-untyped-call]


def _read_scores(redis: Redis, name: bytes) -> list[Any]:
    rows: Any = redis.zrange(name, 0, -1, withscores=True)
    return [[_text(member), score] for member, score in rows]


_Read = Callable[[Any, bytes], Any]
_Write = Callable[[Any, bytes, Any], Any]

_KINDS: Final[dict[str, tuple[_Read, _Write]]] = {
    "string": (
        lambda redis, name: _text(redis.get(name)),
        lambda redis, name, value: redis.set(name, _bytes(value)),
    ),
    "list": (
        lambda redis, name: [_text(each) for each in redis.lrange(name, 0, -1)],
        lambda redis, name, value: redis.rpush(name, *map(_bytes, value)),
    ),
    "set": (
        lambda redis, name: sorted(_text(each) for each in redis.smembers(name)),
        lambda redis, name, value: redis.sadd(name, *map(_bytes, value)),
    ),
    "hash": (
        lambda redis, name: _pairs(redis.hgetall(name)),
        lambda redis, name, value: redis.execute_command("HSET", name, *_flat(value)),
    ),
    "zset": (
        _read_scores,
        lambda redis, name, value: redis.zadd(name, {_bytes(member): score for member, score in value}),
    ),
    "stream": (_read_stream, _write_stream),
}
