"""Commands about conflicts: ``conflict list``, ``conflict show``, ``conflict apply``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from deedbox.ops.cli._options import EXAMPLE_ID, REPAIR, DryRun, Json, RequestId, Source, Yes
from deedbox.shared.audit import AuditedOperation

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.conflicts import Conflict

Body = Annotated[
    str, typer.Argument(metavar="BODY", help="The other body, as `conflict list` and `trace` name it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    conflict = typer.Typer(
        no_args_is_help=True,
        help="Look at callbacks that repeat a known event with different content (`conflict` in a trace), and apply them.",
    )
    conflict.command("list", epilog=f"Example: [bold]deedbox conflict list {EXAMPLE_ID}[/bold].")(listing)
    conflict.command("show", epilog=f"Example: [bold]deedbox conflict show {EXAMPLE_ID} 3fa1[/bold].")(show)
    conflict.command("apply", epilog=f"Example: [bold]deedbox conflict apply {EXAMPLE_ID} 3fa1[/bold].")(
        apply
    )
    app.add_typer(conflict, name="conflict", rich_help_panel=REPAIR)


def listing(request: RequestId, *, source: Source = "default", as_json: Json = False) -> None:
    """List callbacks that repeat a known event of a request with different content, and the fields that differ."""
    from deedbox.ops.wording import conflicts_page
    from deedbox.ops.wording.output import write_json

    _, found = _find(source, request)
    if as_json:
        write_json({"conflicts": [conflicts_page.document(each) for each in found]})
    else:
        conflicts_page.write_list(found)


def show(request: RequestId, body: Body, *, source: Source = "default", as_json: Json = False) -> None:
    """Show what differs between the body that was processed and the other one; with --json both bodies.

    Both name signers.
    """
    from deedbox.ops.cli._terminal import auditing
    from deedbox.ops.repair.conflicts import chosen
    from deedbox.ops.wording import conflicts_page
    from deedbox.ops.wording.output import write_json

    installation, found = _find(source, request)
    conflict = chosen(found, body)
    asked = {"source": source, "key": conflict.other.ordering_key, "body": conflict.body_digest}
    with auditing(installation).operation(AuditedOperation.SHOW_PAYLOAD, **asked) as done:
        done.count = 1
    if as_json:
        write_json(conflicts_page.bodies(conflict))
    else:
        conflicts_page.write_difference(conflict)


def apply(
    request: RequestId,
    body: Body,
    *,
    source: Source = "default",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Process the other body as a separate event: every subscribed action gets it.

    It goes through the bridge. It is flagged late if later events of its request were already passed on. Applied
    twice, it is still one event.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision
    from deedbox.ops.repair.conflicts import Conflicts, chosen
    from deedbox.ops.wording import conflicts_page
    from deedbox.ops.wording.output import write_json, write_line

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation, found = _find(source, request)
    conflict = chosen(found, body)
    if not as_json:
        conflicts_page.write_list([conflict])
    wanted = not (conflict.applied or dry_run) and confirm("Process it as a separate event?", yes=yes)
    if wanted:
        asked = {"source": source, "key": conflict.other.ordering_key, "body": conflict.body_digest}
        with auditing(installation).operation(AuditedOperation.APPLY_CONFLICT, **asked) as done_so_far:
            Conflicts(installation.scripts).apply(conflict)
            done_so_far.count = 1
    if as_json:
        done = {"applied": 1} if wanted else None
        write_json({"plan": conflicts_page.document(conflict), "done": done})
    elif wanted:
        write_line("Handed to the bridge; `deedbox trace` shows what becomes of it.")


def _find(source: str, request: str) -> tuple[Installation, list[Conflict]]:
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels.timeline import key_of
    from deedbox.ops.repair.conflicts import Conflicts

    installation = Installation.load(os.environ)
    return installation, Conflicts(installation.scripts).of(source, key_of(request))
