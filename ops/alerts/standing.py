"""Which standing faults become a message: each once when it has lasted, again after hours, and once when it is over. Pure.

The state is kept in the memory of one process: a Redis that does not answer cannot remember that it was reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from deedbox.ops.readmodels.attention import Attention, AttentionKind
from deedbox.shared.alerts.conditions import REMIND_S

ALERTED: Final = frozenset({
    AttentionKind.REDIS_AWAY, AttentionKind.BROKER_AWAY, AttentionKind.NO_BRIDGE, AttentionKind.BRIDGE_SLOW,
    AttentionKind.REDIS_FULL, AttentionKind.NO_WORKER, AttentionKind.OLD_WORK, AttentionKind.NO_SWEEPER,
    AttentionKind.UNKNOWN_ACTION, AttentionKind.PAUSED_LONG, AttentionKind.CRASH_LOOP, AttentionKind.FOREIGN_JOBS, AttentionKind.FOREIGN_KEYS, AttentionKind.DISK_FULL,
    AttentionKind.SPOOL_FULL, AttentionKind.RETRYING_LONG,
})  # fmt: skip
"""Kinds that become a message. The others are reported by the sweeper, or can wait."""

HOLD_S: Final = 20.0
"""A fault must last for so long, and be gone for so long: restarts and deployments are not reported."""

Name = tuple[AttentionKind, str]
"""Kind, and which one of its kind."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One fault. Times are seconds of one clock."""

    text: str
    advice: str
    since: float
    seen_at: float
    told_at: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One message for people."""

    kind: AttentionKind
    about: str
    text: str
    advice: str
    lasted_s: float
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """The next state, and what to send."""

    standing: Mapping[Name, Standing]
    notices: tuple[Notice, ...] = ()


def compare(
    standing: Mapping[Name, Standing],
    found: Iterable[Attention],
    now: float,
    *,
    hold_s: float = HOLD_S,
    unseen: Collection[AttentionKind] = (),
) -> Compared:
    """Compare what is so now with what was so before. ``unseen``: kinds that could not be looked at; they stay."""
    present = {(each.kind, each.about): each for each in found if each.kind in ALERTED}
    after: dict[Name, Standing] = {}
    notices: list[Notice] = []
    for name, each in present.items():
        before = standing.get(name, Standing(each.text, each.advice, now, now))
        row = replace(before, text=each.text, advice=each.advice, seen_at=now)
        due = now - row.since >= hold_s if row.told_at is None else now - row.told_at >= REMIND_S
        after[name] = replace(row, told_at=now) if due else row
        if due:
            notices.append(Notice(*name, row.text, row.advice, now - row.since))
    for name, row in standing.items():
        if name in present:
            continue
        if name[0] in unseen:
            after[name] = replace(row, seen_at=now)
        elif now - row.seen_at < hold_s:
            after[name] = row
        elif row.told_at is not None:
            notices.append(Notice(*name, row.text, row.advice, row.seen_at - row.since, resolved=True))
    return Compared(after, tuple(notices))
