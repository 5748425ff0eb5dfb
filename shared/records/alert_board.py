"""What was told and what is gathered for the next message: ``alerts``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from deedbox.shared.alerts.alerting import AlertState
from deedbox.shared.alerts.conditions import AlertWatch
from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, guarded, row

FORM: Final = "alert board"


@dataclass(frozen=True, slots=True)
class AlertBoard:
    """What was sent and is held, and what was so at the last look."""

    state: AlertState
    watch: AlertWatch

    def dump(self) -> bytes:
        """Return the board's text, the same for equal boards."""
        return jsontext.canonical({"state": self.state.dump(), "watch": self.watch.dump()})

    @classmethod
    def load(cls, data: bytes) -> Self | Unreadable:
        """Rebuild the board."""
        return guarded(FORM, data, cls._read)

    @classmethod
    def _read(cls, document: Any) -> Self:
        found = row(document)
        return cls(AlertState.load(row(found["state"])), AlertWatch.load(row(found["watch"])))


def board_of(data: bytes) -> AlertBoard:
    """Read the key; an empty board if there is none, or if it cannot be read: then what is wrong is told once more."""
    return (AlertBoard.load(data) if data else None) or AlertBoard(AlertState(), AlertWatch())
