"""The commands ``pause`` and ``resume``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from deedbox.ops.cli._options import EXAMPLE_ACTION, EXAMPLE_ID, REPAIR, DryRun, Json, Source
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.core.routing import PauseKind

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.pausing import Pauser
    from deedbox.shared.pauses import PauseTarget

# Imports inside the commands: they cost what `deedbox worker` and the others do not need.

Kind = Annotated[
    PauseKind, typer.Argument(metavar="KIND", help="action, destination, lane, source or request.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name; of a request its signature_request_id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        rich_help_panel=REPAIR,
        epilog=f"Examples: [bold]deedbox pause action {EXAMPLE_ACTION} --why 'the CRM is away'[/bold], "
        f"[bold]deedbox pause request {EXAMPLE_ID}[/bold].",
    )(pause)
    app.command(
        rich_help_panel=REPAIR, epilog=f"Example: [bold]deedbox resume action {EXAMPLE_ACTION}[/bold]."
    )(resume)


def pause(
    kind: Kind,
    name: Name,
    *,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Shown wherever the pause is shown.")] = "",
    source: Source = "default",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let no call of an action, a destination, a lane, a source or a request begin, until `deedbox resume`. Events wait, in order.

    It takes effect at once for all workers, and outlasts restarts. A call that runs already ends as usual.
    Callbacks are still taken, put in order and kept. `status` lists every pause.
    """
    from deedbox.ops.cli._terminal import auditing
    from deedbox.ops.wording import pauses_page
    from deedbox.ops.wording.output import write_json, write_line
    from deedbox.shared.audit.audit_log import operator

    installation, pauser, target = _start(kind, name, source)
    pauser.demand_known(target, installation.source_names())
    plan = pauser.plan(target)
    done = None
    if not dry_run:
        with auditing(installation).operation(AuditedOperation.PAUSE, **target.asked()) as tally:
            done = pauser.pause(target, by=operator(), why=why)
            tally.count = int(done)
    if as_json:
        write_json({"plan": plan.document(), "done": None if done is None else {"paused": done}})
    elif plan.pause is not None:
        write_line(f"It was paused before: {pauses_page.told(plan.pause, installation.now())}.")
    elif dry_run:
        write_line(f"Would pause {target.told}.")
    else:
        write_line(pauses_page.paused(plan))


def resume(
    kind: Kind, name: Name, *, source: Source = "default", dry_run: DryRun = False, as_json: Json = False
) -> None:
    """End a pause: what has waited runs, in its order."""
    from deedbox.ops.cli._terminal import auditing
    from deedbox.ops.wording.output import write_json, write_line

    installation, pauser, target = _start(kind, name, source)
    plan = pauser.plan(target)
    done = None
    if not dry_run:
        with auditing(installation).operation(AuditedOperation.RESUME, **target.asked()) as tally:
            done = pauser.resume(target)
            tally.count = int(done)
    if as_json:
        write_json({"plan": plan.document(), "done": None if done is None else {"resumed": done}})
    elif plan.pause is None:
        write_line(f"{target.told} is not paused.")
    else:
        write_line(f"{'Would resume' if dry_run else 'Resumed'}: {target.told}.")


def _start(kind: PauseKind, name: str, source: str) -> tuple[Installation, Pauser, PauseTarget]:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.pausing import Pauser, target_of

    installation = Installation.load(os.environ)
    return installation, Pauser(installation.scripts), target_of(kind, name, source)
