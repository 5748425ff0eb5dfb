"""What a worker process says of itself, a call whose process ended, and how a process ended.

``workers:doing``, ``lost``, ``restarts``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from deedbox.shared.core import jsontext
from deedbox.shared.core.fields import Unreadable, guarded, natural, number, number_or_none, row, words

FORM: Final = "presence"
LOST_FORM: Final = "lost call"

RESTART_FORM: Final = "restart"

LIFE_S: Final = 10.0
"""How long a worker's report counts. It reports every ``BEAT_S``: a killed worker counts as alive for no longer than this."""

BEAT_S: Final = 3.0

LOST_KEEP: Final = 20
"""Lost calls that ``status`` can report: the latest."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A process of a lane, and what it runs."""

    lane: str
    action: str = ""
    event: str = ""
    """Fingerprint of the event of the call that runs."""
    running_s: float | None = None
    """How long the call had been running when this was said; None: none ran."""


def dump(presence: Presence) -> bytes:
    """Return the stored form; ``load`` is the inverse."""
    return jsontext.dumps(asdict(presence))


def load(data: bytes | str) -> Presence | Unreadable:
    """Rebuild it; Unreadable for any bytes that ``dump`` does not write."""

    def read(document: Any) -> Presence:
        found = row(document)
        return Presence(
            words(found["lane"]),
            words(found["action"]),
            words(found["event"]),
            number_or_none(found["running_s"]),
        )

    return guarded(FORM, data, read)


@dataclass(frozen=True, slots=True)
class LostCall:
    """A call that ended with its process, without an outcome. Written by ``sweep.lua``."""

    at: float
    """Unix seconds, Redis's clock, when it was noticed."""
    lane: str
    action: str
    event: str
    process: str
    losses: int
    """In a row, this one included."""


def load_lost(data: bytes | str) -> LostCall | Unreadable:
    """Rebuild it; Unreadable for any other bytes."""

    def read(document: Any) -> LostCall:
        found = row(document)
        return LostCall(
            number(found["at"]), words(found["lane"]), words(found["action"]), words(found["event"]),
            words(found["process"]), natural(found["losses"]),
        )  # fmt: skip

    return guarded(LOST_FORM, data, read)


@dataclass(frozen=True, slots=True)
class Restart:
    """A process of ``deedbox up`` that ended without having been told to, and was started again."""

    host: str
    process: str
    how: str
    """Its exit status or signal, in words."""
    count: int
    """How often it ended in the minute before ``at``, that time included."""
    at: float
    """Unix seconds of its last end, Redis's clock."""
    log: str = ""
    """File in which it says why; empty: in the output of ``deedbox up``."""


def dump_restart(restart: Restart) -> bytes:
    """Return the stored form; ``load_restart`` is the inverse."""
    return jsontext.dumps(asdict(restart))


def load_restart(data: bytes | str) -> Restart | Unreadable:
    """Rebuild it; Unreadable for any bytes that ``dump_restart`` does not write."""

    def read(document: Any) -> Restart:
        found = row(document)
        return Restart(
            words(found["host"]), words(found["process"]), words(found["how"]), natural(found["count"]),
            number(found["at"]), words(found["log"]),
        )  # fmt: skip

    return guarded(RESTART_FORM, data, read)
