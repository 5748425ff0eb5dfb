"""Actions and their waiting calls, for people and programs."""

from __future__ import annotations

from typing import Any

from deedbox.ops.repair.undeclared import CallsByAction
from deedbox.ops.wording.action_names import meant
from deedbox.ops.wording.output import counted, write_line, write_table


def document(found: CallsByAction) -> dict[str, Any]:
    """Return JSON values."""
    return {
        "actions": [
            {
                "action": each.name, "lane": each.lane, "types": list(each.types), "ordered": each.ordered,
                "calls": found.depths.get(each.name, 0),
            }
            for each in found.subscribed.actions
        ],
        "undeclared": [{"action": name, "calls": calls} for name, calls in found.undeclared.items()],
    }  # fmt: skip


def write(found: CallsByAction) -> None:
    """Write a table of the declared actions, and a line for each other action that has calls."""
    if found.subscribed.actions:
        rows = [
            (each.name, each.lane, str(found.depths.get(each.name, 0)), ", ".join(each.types))
            for each in found.subscribed.actions
        ]
        write_table(("action", "lane", "calls", "types"), rows)
    else:
        write_line("No worker has announced an action.")
    for name, calls in found.undeclared.items():
        write_line(f"! {waiting(name, calls)}.")
        write_line(f"  {advice(name)}")


def waiting(action: str, calls: int) -> str:
    """Say that calls of an undeclared action wait."""
    verb = counted(calls, "call waits", "calls wait")
    return f"{verb} for the action {action}, which no module in DEEDBOX_ACTIONS declares"


def advice(action: str) -> str:
    """Say what ends this. Commands are written between backticks."""
    return (
        f"Declare it again, or run `deedbox actions rename {action} NEW` (another action gets the calls) or "
        f"`deedbox actions end {action}` (they become dead letters)."
    )


def nothing(action: str, found: CallsByAction) -> str:
    """Say that an action has no calls, and which one was meant."""
    return f"No call waits for the action {action}. {meant(action, found.undeclared, ())}".rstrip()
