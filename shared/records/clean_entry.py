"""An entry of the clean stream, as the scripts write it: ``events``. It refers to the stored event, and holds no payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from deedbox.shared.core.fields import WHAT_DECODERS_RAISE, Unreadable

FORM: Final = "clean stream entry"
NAMES: Final = (b"n", b"stream", b"event", b"type", b"time", b"signature", b"late")


@dataclass(frozen=True, slots=True)
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

    def fields(self) -> dict[str, str]:
        """Return field and value as the scripts write them."""
        return {
            "n": str(self.number), "stream": self.stream, "event": self.fingerprint, "type": self.event_type,
            "time": str(self.event_time), "signature": self.signature, "late": str(int(self.late)),
        }  # fmt: skip

    @classmethod
    def load(cls, fields: Mapping[bytes, bytes]) -> Self | Unreadable:
        """Rebuild the entry from its fields."""
        try:
            return cls(
                int(fields[b"n"]), fields[b"stream"].decode(), fields[b"event"].decode(), fields[b"type"].decode(),
                int(fields[b"time"]), fields[b"signature"].decode(), fields[b"late"] == b"1",
            )  # fmt: skip
        except WHAT_DECODERS_RAISE:
            return Unreadable(FORM)
