"""What a person asked a replay for, and how far it came in a stream: ``replay:<n>``, ``replay:<n>:done``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, guarded, many, number, row, words
from deedbox.shared.core.ordering import Position
from deedbox.shared.records import order_state

FORM: Final = "replay"
MARK_FORM: Final = "replay mark"


@dataclass(frozen=True, slots=True)
class ReplaySpan:
    """A span of arrivals in the inbox, in unix seconds by Redis's clock, both ends included."""

    since: float = 0.0
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class ReplayOrder:
    """What a person asked for."""

    actions: tuple[str, ...]
    span: ReplaySpan
    source: str = ""
    """Empty: every source."""
    key: str = ""
    """Ordering key; empty: all."""
    pattern: str = ""
    """Of event types; empty: whatever the actions subscribe to."""

    def dump(self) -> bytes:
        """Return its text. A span without an end has none: JSON knows no infinity."""
        until = None if math.isinf(self.span.until) else self.span.until
        return jsontext.dumps(
            {
                "actions": list(self.actions), "since": self.span.since, "until": until, "source": self.source,
                "key": self.key, "pattern": self.pattern,
            }
        )  # fmt: skip

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, as people read it."""
        span = {"since": self.span.since, "until": self.span.until}
        times = {name: _told(at) for name, at in span.items() if 0 < at < math.inf}
        named = {"actions": list(self.actions), "source": self.source, "key": self.key, "type": self.pattern}
        return {name: value for name, value in named.items() if value} | times

    @classmethod
    def load(cls, data: bytes) -> Self | Unreadable:
        """Rebuild the order."""
        return guarded(FORM, data, cls._read)

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        until = math.inf if found["until"] is None else number(found["until"])
        return cls(
            many(found["actions"], words),
            ReplaySpan(number(found["since"]), until),
            words(found["source"]),
            words(found["key"]),
            words(found["pattern"]),
        )


def _told(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(at)


def dump_mark(position: Position) -> bytes:
    """Return the text of the position that was appended last."""
    return jsontext.dumps(list(position))


def load_mark(data: bytes) -> Position | Unreadable:
    """Rebuild the position."""
    return guarded(MARK_FORM, data, order_state.position)
