"""The status for people: a table of stages, then workers, waiting calls, and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deedbox.ops.readmodels.stages import Lane, WaitingHead
from deedbox.ops.readmodels.status import HEADS_SHOWN, Status
from deedbox.ops.wording.output import counted, duration, masked, plain_table
from deedbox.shared.printable import printable

MEANING: Final = {
    "broker": "received, not yet claimed by a bridge",
    "claimed": "claimed by a bridge, not yet in the inbox",
    "inbox": "to be deduplicated and ordered",
    "held": "waiting for an earlier event",
    "lane:sequencer": "parts of the inbox that wait for, or are with, a sequencer",
    "retrying": "calls that failed or were put off, waiting for their next attempt",
    "dead": "dead letters, set aside for a decision",
    "spool": "taken while the broker was away",
}

REASON_CHARS: Final = 200
REASON_READ: Final = 1_000

COUNTERS: Final[tuple[str, ...]] = (
    "arrived", "released", "late", "duplicate", "conflict", "held", "given_up", "quarantined", "too_old", "unsigned",
    "better_body", "erased", "reconciled",
    "action_done", "action_retry", "action_dead",
    "body_signature_valid", "body_signature_wrong", "body_signature_absent",
)  # fmt: skip
"""Shown in this order; others follow by name."""


def render(status: Status, reasons: Mapping[str, Sequence[str]]) -> RenderableType:
    """Build the page. ``reasons``: action -> why its calls wait for a retry."""
    return Group(_stages(status), Text(), *(Text(printable(line)) for line in _lines(status, reasons)))


def _stages(status: Status) -> Table:
    table = plain_table()
    table.add_column("stage")
    table.add_column("depth", justify="right")
    table.add_column("oldest", justify="right")
    table.add_column("meaning")
    lanes = {f"lane:{lane.name}": lane for lane in status.survey.lanes}
    for name, stage in status.stages.items():
        meaning = MEANING.get(name) or _actions(lanes[name])
        style = "bold red" if name == "dead" and stage.depth else "" if stage.depth else "dim"
        depth = "?" if stage.depth is None else str(stage.depth)
        cells = (name, depth, duration(stage.oldest_age_s), meaning)
        table.add_row(*(Text(printable(cell), style=style) for cell in cells))
    return table


def _actions(lane: Lane) -> str:
    if lane.unused:
        return "no action uses it any more"
    return "for " + ", ".join(lane.actions) if lane.actions else "no worker has announced it yet"


def _lines(status: Status, reasons: Mapping[str, Sequence[str]]) -> Iterator[str]:
    found = status.survey
    staff = Counter(worker.lane for worker in found.workers)
    busy = Counter(worker.lane for worker in found.workers if worker.state == "busy")
    rows = [f"{lane} {count} ({busy[lane]} busy)" for lane, count in staff.items()]
    yield "workers alive   " + (", ".join(rows) or "none")
    yield "bridge          " + ("alive" if status.view.bridges else "none")
    counts: dict[str, int] = {name: found.counters[name] for name in COUNTERS if name in found.counters}
    counts |= dict(sorted(found.counters.items()))
    yield "counters        " + (", ".join(f"{name} {count}" for name, count in counts.items()) or "none yet")
    if found.waiting:
        yield ""
        yield "waiting for a retry:"
        unknown = frozenset(each.action for each in found.unknown)
        yield from (f"  {_head(head, unknown)}" for head in found.waiting[:HEADS_SHOWN])
        if (more := (found.retrying.depth or 0) - HEADS_SHOWN) > 0:
            yield f"  and {more} more"
        yield from (f"  {action} last met: {_shortened('; '.join(told))}" for action, told in reasons.items())
    if problems := status.attentions:
        yield ""
        yield from (f"! {problem.text} {problem.advice}".rstrip() for problem in problems)


def _shortened(reason: str) -> str:
    shown = masked(
        reason[:REASON_READ]
    )  # cut before it is filtered, far behind what is shown: half an address is not one
    return shown if len(shown) <= REASON_CHARS else f"{shown[: REASON_CHARS - 1]}…"


def _head(head: WaitingHead, unknown: frozenset[str]) -> str:
    due = f"next attempt {f'in {duration(head.due_in_s)}' if head.due_in_s > 0 else 'now'}"
    tries = [
        counted(head.failures, "failed attempt") if head.failures else "",
        f"put off {counted(head.retries, 'time')}" if head.retries else "",
    ]
    told = ", ".join(each for each in tries if each)
    since = f"waiting for {duration(head.since_s)}"
    if head.action in unknown:
        return f"{head.action} of {head.stream}: {told or 'not started yet'} ({since}): no worker knows this action"
    return f"{head.action} of {head.stream}: {told or 'not started yet'}, {since}, {due}"
