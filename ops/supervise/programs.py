"""One line of the process table, and how the end of a process is reported."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_ORDINALS: Final = {1: "st", 2: "nd", 3: "rd"}
_TEENS: Final = range(11, 14)


@dataclass(frozen=True, slots=True)
class Program:
    """One line of the process table."""

    name: str
    command: tuple[str, ...]
    numprocs: int = 1
    stop_wait_s: float = 10
    """From SIGTERM to SIGKILL (which reaches the program's own children too)."""
    priority: int = 100
    """Started in ascending, stopped in descending order."""
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """All of its environment; None: that of this process."""
    lock: Path | None = None
    """File that the program keeps locked while it lives; a second one waits for it."""
    log: Path | None = None
    """File in which the program says why it ended, if not in the output that it shares with us."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A process ended without having been told to."""

    name: str
    how: str
    """Its exit status or signal, in words."""
    pause_s: float
    """Until it is started again."""
    recent: int = 1
    """How often it ended within ``within_s``, this time included."""
    within_s: float = 60.0
    log: Path | None = None
    """Where it says why."""

    def __str__(self) -> str:
        again = f"is started again in {self.pause_s:.0f} s" if self.pause_s else "was started again"
        times = f" ({_ordinal(self.recent)} time in {self.within_s / 60:.0f} min)" if self.recent > 1 else ""
        where = f"; details: {self.log}" if self.log else ""
        return f"{self.name} {self.how} and {again}{times}{where}."


def ending(status: int) -> str:
    """Say how a process ended: a status, or the negative number of a signal."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in _TEENS else _ORDINALS.get(number % 10, "th")
    return f"{number}{suffix}"
