"""What commands and pages say about pauses."""

from __future__ import annotations

from deedbox.ops.repair.pausing import PausePlan
from deedbox.ops.wording import commands
from deedbox.ops.wording.output import counted, duration
from deedbox.shared.pauses import Pause


def told(pause: Pause, now: float) -> str:
    """Say that something is paused, since when, by whom and why."""
    why = f" ({pause.why})" if pause.why else ""
    return f"paused: {pause.target.told}, for {duration(max(0.0, now - pause.at))}, by {pause.by}{why}"


def paused(plan: PausePlan) -> str:
    """Say what a pause did."""
    waits = f" {counted(plan.waiting, 'call waits', 'calls wait')} for it now." if plan.waiting else ""
    return (
        f"Paused: {plan.target.told}.{waits} A call that runs already ends as usual; no other begins. "
        f"`{commands.resume(plan.target)}` continues."
    )
