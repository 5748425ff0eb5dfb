"""What operators have paused: actions, lanes, sources and single requests. ``paused``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from redis import Redis

from deedbox.shared.core.fields import Unreadable, guarded, natural, number, row, words
from deedbox.shared.core.routing import DELIVERING, PauseKind
from deedbox.shared.core.values import value
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text

FORM: Final = "pause"

PAUSES_MAX: Final = 1000
"""Each claim of a lane reads them all."""

LONG_S: Final = 86_400.0
"""A pause that lasts for so long was perhaps forgotten."""


@value
class PauseTarget:
    """One thing that can be paused. ``name``: of a request its stream."""

    kind: PauseKind
    name: str

    @property
    def field(self) -> str:
        """The name in the hash; scripts build the same. A destination is an action."""
        if self.kind is PauseKind.DESTINATION:
            return f"{PauseKind.ACTION}|{DELIVERING}{self.name}"
        return f"{self.kind}|{self.name}"

    @property
    def told(self) -> str:
        """Name it for people."""
        if self.kind is not PauseKind.REQUEST:
            return f"{self.kind} {self.name}"
        source, _, key = self.name.partition(":")
        return f"{key} of source {source}"

    def asked(self) -> dict[str, str]:
        """Return the target for the audit."""
        return {"kind": str(self.kind), "name": self.name}

    @classmethod
    def of(cls, field: str) -> Self | None:
        """Inverse of ``field``; None for a text that is none."""
        kind, _, name = field.partition("|")
        if kind == PauseKind.ACTION and name.startswith(DELIVERING):
            return cls(PauseKind.DESTINATION, name.removeprefix(DELIVERING))
        return cls(PauseKind(kind), name) if name and kind in set(PauseKind) else None


@value
class Pause:
    """One pause."""

    target: PauseTarget
    number: int
    at: float
    """Unix seconds, when it began."""
    by: str
    """Who asked for it."""
    why: str = ""

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": str(self.target.kind),
            "name": self.target.name,
            "at": self.at,
            "by": self.by,
            "why": self.why,
        }


def load(field: str, data: bytes) -> Pause | Unreadable:
    """Read one; ``pause.lua`` writes it."""
    target = PauseTarget.of(field)
    if target is None:
        return Unreadable(FORM, len(data))

    def read(document: Any) -> Pause:
        found = row(document)
        return Pause(
            target, natural(found["n"]), number(found["at"]), words(found["by"]), words(found["why"])
        )

    return guarded(FORM, data, read)


def of_reply(rows: Mapping[bytes, bytes]) -> tuple[Pause, ...]:
    """Read the hash, the oldest pause first. One that cannot be read still holds, since an unknown time."""
    found = []
    for name, data in rows.items():
        target = PauseTarget.of(text(name))
        if target is not None:
            found.append(load(text(name), data) or Pause(target, 0, 0.0, "unknown"))
    return tuple(sorted(found, key=lambda each: each.at))


def read(redis: Redis) -> tuple[Pause, ...]:
    """Read what is paused. Raises Unavailable."""
    with translating():
        rows: Any = redis.hgetall(keys.PAUSED)
    return of_reply(rows)


def about(pauses: Iterable[Pause], source: str, ordering_key: str) -> tuple[Pause, ...]:
    """Return the pauses of one request: its own, and that of its source."""
    fields = {f"{PauseKind.SOURCE}|{source}", f"{PauseKind.REQUEST}|{source}:{ordering_key}"}
    return tuple(each for each in pauses if each.target.field in fields)
