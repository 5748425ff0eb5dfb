"""An entry of the clean stream, as the scripts write it: ``events``. It refers to the stored event, and holds no payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from deedbox.shared import codec
from deedbox.shared.broker.message import BODY_LIMIT_BYTES
from deedbox.shared.core.fields import WHAT_DECODERS_RAISE, Unreadable, natural, words
from deedbox.shared.core.values import value

FORM: Final = "clean stream entry"
NAMES: Final = (b"n", b"event")

_IDS_AT: Final = (3, 4, 5)
"""Of the row: what is an id as a rule."""


@value
class CleanEntry:
    """One released event."""

    number: int
    """Counts without gaps: shows a reader that it missed some."""
    stream: str
    fingerprint: str
    event_type: str
    event_time: int
    signature: str
    """Related signature id; empty if there is none."""
    late: bool

    def dump(self) -> bytes:
        """Return what a script writes beside the number, which it gives itself."""
        kind, mark, identifier = self.stream.rpartition("/")
        row = (
            kind + mark, self.event_type, int(self.late), identifier, self.fingerprint, self.signature, self.event_time
        )  # fmt: skip
        return codec.pack_row(row, _IDS_AT)

    @classmethod
    def load(cls, fields: Mapping[bytes, bytes]) -> Self | Unreadable:
        """Rebuild the entry from its fields."""
        try:
            row = codec.unpack_row(fields[b"event"], BODY_LIMIT_BYTES, _IDS_AT)
            kind, event_type, late, identifier, fingerprint, signature, event_time = row
            return cls(
                int(fields[b"n"]), words(kind) + words(identifier), words(fingerprint), words(event_type),
                natural(event_time), words(signature), natural(late) == 1,
            )  # fmt: skip
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM)
