"""The commands ``actions list``, ``end`` and ``rename``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from deedbox.ops.cli._options import EXAMPLE_ACTION, REPAIR, DryRun, Json, Yes
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.core.errors import DeedboxError

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.undeclared import CallsByAction, Moved, UndeclaredCalls

# Imports inside the commands: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    actions = typer.Typer(
        no_args_is_help=True,
        help="List actions, and end or rename calls of an action that no module declares any more.",
    )
    actions.command("list", epilog="Example: [bold]deedbox actions list --json[/bold].")(listing)
    actions.command("end", epilog=f"Example: [bold]deedbox actions end {EXAMPLE_ACTION} --dry-run[/bold].")(
        end
    )
    actions.command(
        "rename",
        epilog=f"Example: [bold]deedbox actions rename {EXAMPLE_ACTION} myapp.callbacks.sync_crm[/bold].",
    )(rename)
    app.add_typer(actions, name="actions", rich_help_panel=REPAIR)


def listing(*, as_json: Json = False) -> None:
    """List the declared actions with their lanes, types and calls, and the calls of actions that are not declared."""
    from deedbox.ops.wording import actions_page
    from deedbox.ops.wording.output import write_json

    _, _, found = _look()
    if as_json:
        write_json(actions_page.document(found))
    else:
        actions_page.write(found)


def end(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The action, as `actions list` shows it.")],
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make dead letters of all calls of an action that no module declares any more. Their reason is `action_gone`.

    If the action is declared again later, `dead redrive` runs them.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision
    from deedbox.ops.wording.output import counted

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation, undeclared, found = _look()
    calls = found.to_end(name)
    _write_plan(found, name, calls, as_json=as_json)
    wanted = calls and not dry_run and confirm(f"Make {counted(calls, 'dead letter')}?", yes=yes)
    moved = None
    if wanted:
        with auditing(installation).operation(AuditedOperation.END_CALLS, action=name) as done:
            moved = undeclared.end(name)
            done.count = moved.calls
    _write_done({"action": name, "calls": calls}, moved, "Ended", as_json=as_json)


def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The action that is not declared any more.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The declared action that gets its calls.")],
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give the calls of an action that no module declares any more to a declared one. They run before what waits there.

    Their idempotency keys change, because the name of the action is part of them.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision
    from deedbox.ops.wording.output import counted

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation, undeclared, found = _look()
    calls = found.to_rename(old, new)
    _write_plan(found, old, calls, as_json=as_json)
    wanted = calls and not dry_run and confirm(f"Give {counted(calls, 'call')} to {new}?", yes=yes)
    moved = None
    if wanted:
        with auditing(installation).operation(AuditedOperation.RENAME_CALLS, action=old, to=new) as done:
            moved = undeclared.rename(old, new)
            done.count = moved.calls
    _write_done({"action": old, "to": new, "calls": calls}, moved, "Renamed", as_json=as_json)


def _look() -> tuple[Installation, UndeclaredCalls, CallsByAction]:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.undeclared import UndeclaredCalls

    installation = Installation.load(os.environ)
    undeclared = UndeclaredCalls(
        installation.scripts, installation.bells.ring, installation.settings.retention
    )
    return installation, undeclared, undeclared.look()


def _write_plan(found: CallsByAction, action: str, calls: int, *, as_json: bool) -> None:
    from deedbox.ops.wording import actions_page
    from deedbox.ops.wording.output import write_line

    if not as_json:
        write_line(
            f"{actions_page.waiting(action, calls)}." if calls else actions_page.nothing(action, found)
        )


def _write_done(plan: dict[str, str | int], moved: Moved | None, verb: str, *, as_json: bool) -> None:
    """Report what was done. Raises DeedboxError if a process that runs a call kept some from it."""
    from deedbox.ops.wording.output import counted, write_json, write_line

    if as_json:
        done = moved and {"calls": moved.calls, "left": moved.left}
        write_json({"plan": plan, "done": done})
    elif moved:
        write_line(f"{verb}: {counted(moved.calls, 'call')}.")
    if moved and moved.left:
        raise DeedboxError(
            f"{counted(moved.left, 'call is', 'calls are')} left, in queues of which a process runs a call just now; "
            "run the command again in a minute."
        )
