"""An entry of the clean stream, as the scripts write it: ``events``. It refers to the stored event, and holds no payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from deedbox.shared import codec
from deedbox.shared.broker.message import BODY_LIMIT_BYTES
from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import WHAT_DECODERS_RAISE, Unreadable, natural, words
from deedbox.shared.core.values import value

FORM: Final = "clean stream entry"
NAMES: Final = (b"n", b"event")


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
        row = (
            self.stream,
            self.fingerprint,
            self.event_type,
            self.event_time,
            self.signature,
            int(self.late),
        )
        ids = (self.stream.rpartition("/")[2], self.fingerprint, self.signature)
        return codec.pack(jsontext.dumps(row), ids=ids)

    @classmethod
    def load(cls, fields: Mapping[bytes, bytes]) -> Self | Unreadable:
        """Rebuild the entry from its fields."""
        try:
            row = jsontext.loads(codec.unpack(fields[b"event"], BODY_LIMIT_BYTES))
            stream, fingerprint, event_type, event_time, signature, late = row
            return cls(
                int(fields[b"n"]), words(stream), words(fingerprint), words(event_type), natural(event_time),
                words(signature), natural(late) == 1,
            )  # fmt: skip
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM)
