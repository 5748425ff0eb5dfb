"""A replay for people: what it would do, and what it did."""

from __future__ import annotations

from deedbox.ops.repair.replay_plan import ReplayPlan, ReplayTally
from deedbox.ops.wording.output import clock, counted, write_line


def write_plan(plan: ReplayPlan) -> None:
    """Say what a replay would do."""
    what = f"to replay of replay {plan.number}" if plan.number else "to replay"
    if not plan.events:
        write_line(f"Nothing {what}: no stored event matches that the actions subscribe to.")
    else:
        requests = counted(len(plan.streams), "request or other key", "requests and other keys")
        write_line(f"{counted(plan.events, 'event')} {what}, of {requests}:")
        write_line(f"  arrived from {clock(plan.first_at or 0)} to {clock(plan.last_at or 0)} UTC")
    for action in plan.actions:
        waiting = plan.waiting[action.name]
        behind = f", behind {counted(waiting, 'entry', 'entries')} that wait already" if waiting else ""
        write_line(f"  {counted(plan.runs[action.name], 'call')} of {action.name}{behind}")
    if plan.late:
        write_line(
            f"  {counted(plan.late, 'event')} will be flagged late: later ones of their request were already passed on"
        )
    _write_left_out(plan)


def _write_left_out(plan: ReplayPlan) -> None:
    if plan.expired:
        write_line(
            f"  left out: {counted(plan.expired, 'event')} that expired (DEEDBOX_EVENT_RETENTION_DAYS)"
        )
    if plan.erased:
        write_line(
            f"  left out: {counted(plan.erased, 'request')} that was erased: `deedbox erase` cannot be undone"
        )
    if plan.held:
        write_line(
            f"  left out: {counted(plan.held, 'event')} still held for an earlier event; they have not run yet"
        )
    if plan.aside:
        write_line(
            f"  left out: {counted(plan.aside, 'event')} set aside as too_old, which never ran; "
            "`deedbox dead redrive --reason too_old` runs those"
        )


def write_started(number: int) -> None:
    """Say the number before anything is queued: an operator who interrupts needs it."""
    write_line(f"Replay {number}. If it is interrupted: `deedbox replay --resume {number}`.")


def write_tally(tally: ReplayTally, letters: int) -> None:
    """Say what a replay did. ``letters``: dead letters about the same requests and actions, which stay."""
    write_line(f"Queued {counted(tally.appended, 'call')}; `deedbox status` shows their progress.")
    if letters:
        write_line(
            f"{counted(letters, 'dead letter')} of these requests and actions {'stays' if letters == 1 else 'stay'}: "
            "`deedbox dead list`; discard them once the replay has done their work."
        )
    if tally.gone:
        write_line(f"Expired meanwhile: {counted(tally.gone, 'event')}.")
    if tally.erased:
        write_line(f"Erased meanwhile: {counted(tally.erased, 'request')}; nothing of that was queued.")
