"""The tombstone of an erased stream: ``erased:<stream>``. ``erase.lua`` writes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, guarded, number, row, words

FORM: Final = "tombstone"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """When a stream was erased, and who asked for it."""

    at: float
    """Unix seconds."""
    by: str

    @classmethod
    def load(cls, data: bytes) -> Self | Unreadable:
        """Rebuild the tombstone."""
        return guarded(FORM, data, cls._read)

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        return cls(number(found["at"]), words(found["by"]))

    def dump(self) -> bytes:
        """Return its text."""
        return jsontext.dumps(asdict(self))
