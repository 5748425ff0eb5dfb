"""The dead letters: found, shown, discarded. ``ops.redrive`` sends them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self, cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from shared import codec, keys
from shared.connections import translated
from shared.core.errors import DeedboxError
from shared.retention import Retention
from shared.scripting import text

CHUNK: Final = 500
"""Letters read in one round trip."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without what may be large or private: ``body`` and ``traceback`` fetch that.

    A letter is about a message (``undecodable``), an event (``too_old``) or an (event, action); what does not
    apply is empty.
    """

    id: str
    at: float
    """Unix seconds, Redis's clock."""
    reason: str
    detail: str = ""
    source: str = ""
    key: str = ""
    type: str = ""
    action: str = ""
    lane: str = ""
    unit: str = ""
    entry: str = ""
    event: str = ""
    """Fingerprint of the event."""
    trace_id: str = ""

    @classmethod
    def of_values(cls, values: Sequence[bytes | None]) -> Self:
        """Build a letter from the values of ``FIELDS``."""
        row: dict[str, Any] = {
            name: value.decode("utf-8", "replace")
            for name, value in zip(FIELDS, values, strict=True)
            if value is not None
        }
        return cls(**{**row, "at": float(row["at"])})

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


FIELDS: Final = tuple(each.name for each in fields(Letter))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters a person means: these ids, or all that fit; empty texts fit everything."""

    ids: tuple[str, ...] = ()
    reason: str = ""
    action: str = ""

    def fits(self, letter: Letter) -> bool:
        """Tell whether a letter fits."""
        return self.reason in {"", letter.reason} and self.action in {"", letter.action}


EVERYTHING: Final = Selection()


class DeadLetters:
    """The dead letters of one installation. Every method raises Unavailable if Redis does not answer."""

    def __init__(self, redis: Redis, retention: Retention = Retention()) -> None:  # noqa: B008 - frozen
        self._redis = redis
        self._retention = retention

    def count(self) -> int:
        """Return how many there are."""
        pipe = self._pipeline()
        pipe.zcard(keys.DEAD)
        return int(_execute(pipe)[0])

    def newest_first(self, selection: Selection = EVERYTHING) -> Iterator[Letter]:
        """Read the letters that fit, chunk by chunk; those that are filed meanwhile are left out."""
        pipe = self._pipeline()
        pipe.zrange(keys.DEAD, 0, -1, desc=True)
        ids = [text(each) for each in _execute(pipe)[0]]
        for start in range(0, len(ids), CHUNK):
            found = self._read(ids[start : start + CHUNK])
            yield from (letter for letter in found if selection.fits(letter))

    def select(self, selection: Selection) -> list[Letter]:
        """Return the letters that are meant, oldest first. Raises DeedboxError for an id that there is not."""
        if not selection.ids:
            return list(self.newest_first(selection))[::-1]
        found = {letter.id: letter for letter in self._read(dict.fromkeys(selection.ids))}
        missing = [each for each in selection.ids if each not in found]
        if missing:
            raise DeedboxError(
                f"There is no dead letter {', '.join(missing[:5])}; `deedbox dead list` shows them."
            )
        return sorted(found.values(), key=lambda letter: letter.at)

    def body(self, letter: Letter) -> bytes | None:
        """Return a letter's raw message, else its event's stored body; None if it is gone. It may name people."""
        pipe = self._pipeline()
        pipe.hget(keys.dead(letter.id), "raw")
        pipe.hmget(keys.event(letter.event), "body", "codec")
        raw, (body, codec_name) = _execute(pipe)
        if raw is not None or body is None:
            return cast("bytes | None", raw)
        return codec.decode(text(codec_name or b""), body)

    def traceback(self, letter: Letter) -> str:
        """Return the traceback of the last call; empty if there is none."""
        pipe = self._pipeline()
        pipe.hget(keys.dead(letter.id), "traceback")
        return (_execute(pipe)[0] or b"").decode("utf-8", "replace")

    def discard(self, letters: Iterable[Letter]) -> int:
        """Remove letters for good. Returns how many were still there."""
        removed = 0
        for letter in letters:
            pipe = self._redis.pipeline(transaction=True)
            pipe.zrem(keys.DEAD, letter.id)
            pipe.delete(keys.dead(letter.id))
            if letter.event:
                # Kept for the letter's sake only.
                pipe.expire(keys.event(letter.event), self._retention.events_s)
            removed += int(_execute(pipe)[0])
        return removed

    def _read(self, ids: Iterable[str]) -> Iterator[Letter]:
        pipe = self._pipeline()
        for each in ids:
            pipe.hmget(keys.dead(each), FIELDS)
        # One that another operator removed between the two looks has no fields any more.
        return (Letter.of_values(values) for values in _execute(pipe) if values[0] is not None)

    def _pipeline(self) -> Pipeline:
        return self._redis.pipeline(transaction=False)


def _execute(pipe: Pipeline) -> list[Any]:
    try:
        return pipe.execute()
    except RedisError as error:
        raise translated(error) from error
