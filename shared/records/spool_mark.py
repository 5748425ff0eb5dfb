"""What an ingress host says of its spool in Redis: a lease, renewed every second while callbacks are in it.

While it lives, holds wait for those callbacks. A host that vanished does not renew it: what it held is lost with the
host, or comes late when the host is back, and nothing waits for it any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from deedbox.shared.core.fields import Unreadable, guarded, natural, number, words
from deedbox.shared.redis.scripting import text

FORM = "spool mark"

LEASE_S: Final = 60.0
"""Longer than a web process is silent while Redis fails over, or while it is started again."""

FULL_FROM: Final = 0.8
"""Share of its limit from which a spool is nearly full: ten refusals in a row cost the callback URL."""


@dataclass(frozen=True, slots=True)
class SpoolMark:
    """One host's spool, as it said last. Times in unix seconds."""

    host: str
    """The name of the host, for people; the key of the mark is the folder's own id."""
    callbacks: int
    size_bytes: int
    limit_bytes: int
    """What it may hold (DEEDBOX_SPOOL_MAX_BYTES of that host); beyond, callbacks are refused with 503."""
    oldest_received_at: float
    seen_at: float
    """When it was said, by Redis's clock."""

    @property
    def nearly_full(self) -> bool:
        """Return whether callbacks will soon be refused."""
        return self.size_bytes >= FULL_FROM * self.limit_bytes

    def lives(self, now: float) -> bool:
        """Return whether the host still says so. ``now``: by Redis's clock."""
        return now - self.seen_at <= LEASE_S


def dump(mark: SpoolMark) -> str:
    """Return the mark's text; ``load`` is the inverse."""
    return json.dumps(asdict(mark))


def load(data: bytes) -> SpoolMark | Unreadable:
    """Return the mark; Unreadable for any bytes that ``dump`` does not write."""
    return guarded(FORM, data, _mark)


def _mark(row: Any) -> SpoolMark:
    return SpoolMark(
        words(row["host"]), natural(row["callbacks"]), natural(row["size_bytes"]), natural(row["limit_bytes"]),
        number(row["oldest_received_at"]), number(row["seen_at"]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpoolMarks:
    """The marks of all hosts, by the id of the folder."""

    live: Mapping[str, SpoolMark]
    silent: Mapping[str, SpoolMark]
    """Not renewed for ``LEASE_S``: the host is gone, or its web processes are."""
    unreadable: tuple[str, ...]
    """Ids whose mark cannot be read: they are ignored."""

    @classmethod
    def of(cls, stored: Mapping[bytes, bytes], now: float) -> Self:
        """Read what Redis has. ``now``: by Redis's clock."""
        live: dict[str, SpoolMark] = {}
        silent: dict[str, SpoolMark] = {}
        unreadable: list[str] = []
        for name, value in sorted(stored.items()):
            mark = load(value)
            if isinstance(mark, Unreadable):
                unreadable.append(text(name))
            else:
                (live if mark.lives(now) else silent)[text(name)] = mark
        return cls(live, silent, tuple(unreadable))

    def rows(self, now: float) -> list[dict[str, Any]]:
        """Return JSON values for ``status``, one row a host."""
        found: list[dict[str, Any]] = [
            {
                "host": mark.host,
                "id": name,
                "callbacks": mark.callbacks,
                "bytes": mark.size_bytes,
                "limit_bytes": mark.limit_bytes,
                "oldest_age_s": round(max(0.0, now - mark.oldest_received_at), 3),
                "silent_s": round(max(0.0, now - mark.seen_at), 3),
                "lives": mark.lives(now),
            }
            for name, mark in {**self.live, **self.silent}.items()
        ]
        return found + [{"host": None, "id": name, "lives": False} for name in self.unreadable]

    @property
    def size_bytes(self) -> int:
        """Return the bytes in all of them."""
        return sum(mark.size_bytes for mark in (*self.live.values(), *self.silent.values()))

    @property
    def oldest_received_at(self) -> float | None:
        """Since when some living host holds callbacks; None if none does."""
        return oldest(self.live.values())


def oldest(marks: Iterable[SpoolMark]) -> float | None:
    """Return the time of receipt of the oldest callback of these spools."""
    return min((mark.oldest_received_at for mark in marks), default=None)
