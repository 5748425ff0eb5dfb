"""The spools of all hosts, for people."""

from __future__ import annotations

from typing import Final

from deedbox.ops.wording.output import counted, duration, write_line
from deedbox.shared.printable import printable
from deedbox.shared.records.spool_mark import SpoolMark, SpoolMarks

FILLED_ADVICE: Final = "Start the broker again, or raise DEEDBOX_SPOOL_MAX_BYTES if the disk has room"


def filled(mark: SpoolMark) -> str:
    """Say how full a spool is that is nearly full, and what that means."""
    used = f"{mark.size_bytes >> 20} of {mark.limit_bytes >> 20} MiB"
    if mark.size_bytes >= mark.limit_bytes:
        return f"The spool of host {mark.host} is full ({used}): callbacks are refused with 503."
    return f"The spool of host {mark.host} is nearly full ({used}): then callbacks are refused with 503."


def write_hosts(marks: SpoolMarks, now: float) -> None:
    """Print one line a host."""
    for name, mark in {**marks.live, **marks.silent}.items():
        silent = "" if mark.lives(now) else f", silent for {duration(now - mark.seen_at)}"
        age = duration(max(0.0, now - mark.oldest_received_at))
        held = counted(mark.callbacks, "callback")
        write_line(printable(f"spool on host {mark.host} ({name}): {held}, the oldest for {age}{silent}"))
    for name in marks.unreadable:
        write_line(printable(f"spool {name}: what its host said cannot be read"))
    if not (marks.live or marks.silent or marks.unreadable):
        write_line("No host says that it has callbacks in its spool.")


def write_forgotten(host: str, gone: int, living: int) -> None:
    """Print what became of it."""
    if gone:
        write_line(
            printable(f"Forgot the spool of {host}. Nothing waits for it, and no warning names it any more.")
        )
    elif living:
        write_line(printable(f"Host {host} is alive: its callbacks follow as soon as the broker takes them."))
    else:
        write_line(printable(f"No spool of a host {host} is known; `deedbox spool forget` shows all."))
