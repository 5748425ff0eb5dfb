"""What a living web process received since its start: ``intake``, one field per process. ``report_intake.lua`` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import (
    Unreadable,
    guarded,
    many,
    named,
    natural,
    number,
    number_or_none,
    row,
)

FORM: Final = "intake report"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source, as one web process saw it since it started. Times are unix seconds."""

    accepted: int = 0
    spooled: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """Reason -> count."""
    last_accepted_at: float | None = None
    last_test_at: float | None = None
    failures: tuple[float, ...] = ()
    """The latest refusals in a row, oldest first."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "accepted": self.accepted, "spooled": self.spooled, "refused": dict(self.refused),
            "last_accepted_at": self.last_accepted_at, "last_test_at": self.last_test_at,
            "failures": list(self.failures),
        }  # fmt: skip

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Read JSON values. Raises TypeError, KeyError."""
        found = row(value)
        return cls(
            natural(found["accepted"]),
            natural(found["spooled"]),
            named(found["refused"], natural),
            number_or_none(found["last_accepted_at"]),
            number_or_none(found["last_test_at"]),
            many(found["failures"], number),
        )


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """One web process."""

    process: str
    """``<host>:<pid>``: the field's name, no part of its text."""
    at: float
    started_at: float
    bounds_ms: tuple[float, ...]
    """Upper bounds of the buckets; the last bucket has none."""
    counts: tuple[int, ...]
    """Acknowledgements per bucket since the start."""
    sources: Mapping[str, SourceReport]
    strays: Mapping[str, int] = field(default_factory=dict)
    """Refusals that belong to no source, such as ``not_found``: reason -> count."""

    def dump(self) -> bytes:
        """Return its text."""
        return jsontext.dumps(
            {
                "at": self.at,
                "started_at": self.started_at,
                "ack_ms": {"bounds": list(self.bounds_ms), "counts": list(self.counts)},
                "sources": {name: source.as_json() for name, source in self.sources.items()},
                "strays": dict(self.strays),
            }
        )

    @classmethod
    def load(cls, process: str, data: bytes) -> Self | Unreadable:
        """Rebuild the report of a process."""
        return guarded(FORM, data, lambda document: cls._read(process, document))

    @classmethod
    def _read(cls, process: str, document: Any) -> Self:
        found = row(document)
        ack = row(found["ack_ms"])
        bounds, counts = many(ack["bounds"], number), many(ack["counts"], natural)
        if len(counts) != len(bounds) + 1:
            raise ValueError
        return cls(
            process, number(found["at"]), number(found["started_at"]), bounds, counts,
            named(found["sources"], SourceReport.of_json), named(found["strays"], natural),
        )  # fmt: skip
