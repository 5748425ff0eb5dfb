"""One sample of an installation, and the counters at the last one: ``samples``, ``samples:totals``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    words,
)

FORM: Final = "sample"
TOTALS_FORM: Final = "totals of samples"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one interval looked like."""

    at: float
    """Unix seconds of its end."""
    span_s: float | None
    """How long the increments took to come together; None: there was nothing to compare with."""
    depth: Mapping[str, int] = field(default_factory=dict)
    """By stage; a stage that did not answer is missing."""
    age_s: Mapping[str, float] = field(default_factory=dict)
    happened: Mapping[str, int] = field(default_factory=dict)
    """Increments by name: counters, and ``accepted`` and ``spooled`` of the web processes. Those of 0 are not stored."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Increments by reason."""
    bounds_ms: Sequence[float] = ()
    acks: Sequence[int] = ()
    """Acknowledgements of the interval per bucket; none stored if there was none."""

    def dump(self) -> bytes:
        """Return its text, without what is zero: there are thousands of samples."""
        found: dict[str, Any] = {
            "t": self.at, "s": self.span_s, "d": {name: n for name, n in self.depth.items() if n}, "a": dict(self.age_s),
            "n": {name: n for name, n in self.happened.items() if n}, "r": dict(self.refused),
            "x": sorted(self.depth),
        }  # fmt: skip
        if any(self.acks):
            found |= {"b": list(self.bounds_ms), "k": list(self.acks)}
        return jsontext.dumps({name: value for name, value in found.items() if value not in ({}, [])})

    @classmethod
    def load(cls, data: bytes | str) -> Self | Unreadable:
        """Rebuild it; Unreadable for any bytes that ``dump`` does not write."""
        return guarded(FORM, data, cls._read)

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        stages = dict.fromkeys(many(found.get("x", []), words), 0)
        bounds, acks = many(found.get("b", []), number), many(found.get("k", []), natural)
        if acks and len(acks) != len(bounds) + 1:
            raise ValueError
        return cls(
            number(found["t"]), number_or_none(found["s"]), stages | named(found.get("d", {}), natural),
            named(found.get("a", {}), number), named(found.get("n", {}), natural), named(found.get("r", {}), natural),
            bounds, acks,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WebTotals:
    """One web process's counters since its start."""

    started_at: float
    accepted: int = 0
    spooled: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    bounds_ms: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "started_at": self.started_at, "accepted": self.accepted, "spooled": self.spooled,
            "refused": dict(self.refused), "bounds": list(self.bounds_ms), "counts": list(self.counts),
        }  # fmt: skip

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Read JSON values. Raises TypeError, KeyError."""
        found = row(value)
        return cls(
            number(found["started_at"]), natural(found["accepted"]), natural(found["spooled"]),
            named(found["refused"], natural), many(found["bounds"], number), many(found["counts"], natural),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SampleTotals:
    """Every counter at one moment: what the next sample is compared with."""

    at: float
    """Unix seconds."""
    counters: Mapping[str, int] = field(default_factory=dict)
    web: Mapping[str, WebTotals] = field(default_factory=dict)
    """By process."""

    def dump(self) -> bytes:
        """Return its text."""
        web = {process: totals.as_json() for process, totals in self.web.items()}
        return jsontext.dumps({"at": self.at, "counters": dict(self.counters), "web": web})

    @classmethod
    def load(cls, data: bytes | str) -> Self | Unreadable:
        """Rebuild it; Unreadable for any bytes that ``dump`` does not write."""
        return guarded(TOTALS_FORM, data, cls._read)

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        return cls(
            number(found["at"]), named(found["counters"], natural), named(found["web"], WebTotals.of_json)
        )
