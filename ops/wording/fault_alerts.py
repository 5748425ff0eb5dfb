"""How an alert about a standing fault reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deedbox.ops.readmodels.attention import AttentionKind
from deedbox.ops.wording.output import duration

HEADLINES: Final[Mapping[AttentionKind, str]] = {
    AttentionKind.REDIS_AWAY: "Redis does not answer",
    AttentionKind.BROKER_AWAY: "the broker does not answer",
    AttentionKind.NO_BRIDGE: "no bridge runs",
    AttentionKind.BRIDGE_SLOW: "the bridge does not keep up",
    AttentionKind.REDIS_FULL: "Redis is nearly full",
    AttentionKind.NO_WORKER: "a lane has no living worker",
    AttentionKind.OLD_WORK: "work waits too long",
    AttentionKind.NO_SWEEPER: "no sweeper runs",
    AttentionKind.UNKNOWN_ACTION: "calls wait for an unknown action",
    AttentionKind.PAUSED_LONG: "something has been paused for a day",
    AttentionKind.CRASH_LOOP: "a process ends again and again",
    AttentionKind.FOREIGN_JOBS: "jobs that Deedbox did not write",
    AttentionKind.FOREIGN_KEYS: "keys that Deedbox did not write",
    AttentionKind.DISK_FULL: "a disk is nearly full",
    AttentionKind.SPOOL_FULL: "a spool is nearly full",
    AttentionKind.RETRYING_LONG: "calls of an action have been failing or waiting for hours",
}


def title(kind: AttentionKind, about: str, *, resolved: bool) -> str:
    """Return the subject line."""
    which = f" ({about})" if about else ""
    return f"Deedbox: {'resolved: ' if resolved else ''}{HEADLINES[kind]}{which}"


def body(text: str, advice: str, lasted_s: float, *, resolved: bool) -> str:
    """Return the text: what is wrong and what helps, or what is over."""
    if resolved:
        return f"This is over; it lasted {duration(lasted_s)}. It was: {text}"
    help_ = f"{advice} " if advice else ""
    return (
        f"{text}\nThis has lasted for {duration(lasted_s)}. {help_}`deedbox status` shows what is wrong now."
    )
