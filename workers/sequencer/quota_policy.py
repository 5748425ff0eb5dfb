"""Bounds on what a single ``event_hash`` can store: it signs one second and one type, and any number of bodies fit to it.

Whoever has seen one callback can send others of that source, type and second. Bodies that the vendor signed
(``Trust.ATTESTED``) cannot be made that way, and are not counted. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from deedbox.shared.core.values import value

FACTS: Final = 2_000
"""A bulk send is one second; the API takes some hundred requests a minute."""

BYTES: Final = 64 * 1024 * 1024
"""A signature image in ``response_data`` may be a megabyte."""

BODIES: Final = 8
"""Other bodies of one fact."""

MEMORY_SHARE: Final = 16
"""One hash may store at most this part of a Redis with a memory limit."""


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """What may be stored of one source, type and second."""

    facts: int = FACTS
    bytes: int = BYTES
    bodies: int = BODIES
    life_s: float = 5 * 86_400.0
    """So long it is remembered: longer than an event may be old."""

    @classmethod
    def of(cls, max_event_age_s: float, memory_s: float, memory_limit_bytes: int = 0) -> QuotaPolicy:
        """Return the policy for a maximum age, or without one for the dedupe memory; 0 bytes: no memory limit."""
        life_s = (max_event_age_s or memory_s) + 86_400.0
        limit = memory_limit_bytes // MEMORY_SHARE if memory_limit_bytes else BYTES
        return cls(bytes=min(BYTES, limit), life_s=life_s)


@value
class QuotaGroup:
    """What one ``event_hash`` signs."""

    source: str
    event_type: str
    event_time: int

    @property
    def key(self) -> str:
        """A name of bounded length."""
        text = f"{self.source}|{self.event_time}|{self.event_type}"
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(slots=True)
class QuotaUse:
    """What a group has stored, before and in this batch."""

    facts: int = 0
    bytes: int = 0
    new_facts: int = 0
    new_bytes: int = 0
    beyond: int = 0
    """Callbacks that were not stored."""

    def admits(self, policy: QuotaPolicy, size_bytes: int, *, other_bodies: int | None = None) -> bool:
        """Return whether one more body may be stored, and count it either way.

        ``other_bodies``: how many its fact has already beside the first; None: it is a new fact.
        """
        fits = self.bytes + self.new_bytes + size_bytes <= policy.bytes
        if other_bodies is None:
            fits = fits and self.facts + self.new_facts < policy.facts
        else:
            fits = fits and other_bodies < policy.bodies
        if not fits:
            self.beyond += 1
            return False
        self.new_facts += other_bodies is None
        self.new_bytes += size_bytes
        return True
