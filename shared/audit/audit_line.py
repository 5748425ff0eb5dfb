"""A line of the audit, as it is stored: the server's time, a space, then JSON. ``audit``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, guarded, natural, number, row, words

FORM: Final = "audit line"

VALUES_MAX: Final = 20
"""Ids of one list that are repeated."""
CHARS_MAX: Final = 300
"""Of one text."""


class AuditedOperation(StrEnum):
    """What a person can do to an installation."""

    REDRIVE = "redrive"
    DISCARD = "discard"
    COLLECT = "collect"
    REPLAY = "replay"
    PAUSE = "pause"
    RESUME = "resume"
    ERASE = "erase"
    RECONCILE = "reconcile"
    APPLY_CONFLICT = "apply_conflict"
    END_CALLS = "end_calls"
    RENAME_CALLS = "rename_calls"
    CALL = "call"
    ROTATE_KEYS = "rotate_keys"
    SET_CALLBACK_URL = "set_callback_url"
    DRAIN_SPOOL = "drain_spool"
    REDRIVE_SPOOL = "redrive_spool"
    DISCARD_SPOOL = "discard_spool"
    FORGET_SPOOL = "forget_spool"
    SHOW_PAYLOAD = "show_payload"
    """It changes nothing, and shows what names people."""


class Way(StrEnum):
    """Where an operation came from."""

    COMMAND = "command"
    DASHBOARD = "dashboard"
    API = "api"


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One operation. Ids and names, never a payload, a free text or a secret."""

    who: str
    """A token's name, ``owner`` (a sign-in link), or the user of the machine on which the command ran."""
    way: str
    operation: str
    count: int | None
    """How many letters, calls or things; None: it broke off."""
    asked: Mapping[str, Any]
    at: float = 0.0
    """Unix seconds by Redis's clock; the script adds it."""

    def dump(self) -> bytes:
        """Return the stored text, without the time."""
        return jsontext.dumps(
            {
                "who": self.who,
                "way": self.way,
                "operation": self.operation,
                "count": self.count,
                "asked": dict(self.asked),
            }
        )

    def asked_in_words(self) -> str:
        """Say what was asked for, in one line."""
        return ", ".join(f"{name}={_told(value)}" for name, value in self.asked.items())

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "at": self.at, "who": self.who, "way": self.way, "operation": self.operation, "count": self.count,
            "asked": dict(self.asked),
        }  # fmt: skip


def load(data: bytes) -> AuditLine | Unreadable:
    """Rebuild a line."""
    at, _, rest = data.partition(b" ")

    def read(document: Any) -> AuditLine:
        found = row(document)
        count = found["count"]
        return AuditLine(
            words(found["who"]), words(found["way"]), words(found["operation"]),
            None if count is None else natural(count), dict(row(found["asked"])), number(float(at)),
        )  # fmt: skip

    return guarded(FORM, rest, read)


def bounded(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked without what is empty, lists and texts cut."""
    return {name: _cut(value) for name, value in asked.items() if value not in (None, "", (), [], False)}


def _told(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cut(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_cut(each) for each in value[:VALUES_MAX]]
    return value if isinstance(value, int | float) else str(value)[:CHARS_MAX]
