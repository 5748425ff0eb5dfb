"""Of which Redis type each key is: read from the table of ``deedbox.shared.redis.keys``, so that there is one of it."""

from __future__ import annotations

import re
import secrets
from typing import Final

from redis import Redis

from deedbox.shared.redis import keys

_ROW: Final = re.compile(r"^(\S+(?: \S+)*) +(string|hash|list|zset|set|stream) ", re.MULTILINE)
_PART: Final = re.compile(r"<[^>]*>")


def _pattern(name: str) -> str:
    return ".+".join(map(re.escape, _PART.split(name)))


_NAMES: Final[dict[str, str]] = {
    name: kind
    for names, kind in _ROW.findall(keys.__doc__ or "")
    for name in names.split(", ")
    if not name.startswith(("rq:", keys.RAW_QUEUE))
}
FIXED: Final = {keys.PREFIX + name: kind for name, kind in _NAMES.items() if "<" not in name}
"""Keys whose whole name is in the table."""

_PATTERNS: Final[list[tuple[re.Pattern[str], str]]] = [
    (re.compile(re.escape(keys.PREFIX) + _pattern(name)), kind)
    for name, kind in sorted(_NAMES.items(), key=lambda row: -len(_PART.sub("", row[0])))
    if "<" in name
]
"""The longer a name's own text, the fewer keys it means: those come first."""


def suspect(redis: Redis) -> None:
    """Have the sweeper look at all keys soon. Raises RedisError."""
    # Another value each time: a walk that is under way ends only what was suspected before it began.
    redis.set(keys.FOREIGN_SUSPECTED, secrets.token_hex(8))


def type_of(key: str) -> str | None:
    """Return of which type a key is; None if it is none of ours."""
    if key in FIXED:
        return FIXED[key]
    return next((kind for pattern, kind in _PATTERNS if pattern.fullmatch(key)), None)
