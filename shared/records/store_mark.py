"""A document store, as the host that stored there last knows it: ``stores``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, guarded, number, row, words

FORM: Final = "store mark"


@dataclass(frozen=True, slots=True)
class StoreMark:
    """One store."""

    store: str
    """The id in its mark file; the field's name in Redis."""
    host: str
    path: str
    used_at: float
    """Unix seconds."""

    @classmethod
    def load(cls, store: str, data: bytes | str) -> Self | Unreadable:
        """Rebuild the mark of a store."""
        return guarded(FORM, data, lambda document: cls._read(store, document))

    @classmethod
    def _read(cls, store: str, document: Any) -> Self:
        found = row(document)
        return cls(store, words(found["host"]), words(found["path"]), number(found["used_at"]))

    def dump(self) -> bytes:
        """Return its text."""
        return jsontext.dumps({"host": self.host, "path": self.path, "used_at": self.used_at})
