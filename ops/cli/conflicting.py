"""Commands about conflicts: ``conflict list``, ``conflict show``, ``conflict apply``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deedbox.ops.repair.conflicts import Conflict, Conflicts

Request = Annotated[
    str, typer.Argument(metavar="ID", help="A signature_request_id, or a key such as template/c26b8a16.")
]
Body = Annotated[
    str, typer.Argument(metavar="BODY", help="The other body, as `conflict list` and `trace` name it.")
]
Source = Annotated[str, typer.Option(help="The tenant, as in /callbacks/<source>.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands."""
    conflict = typer.Typer(
        no_args_is_help=True,
        help="Look at other bodies of facts that were known already (`conflict` in a trace), and apply them.",
    )
    example = "fa5c8a0b0f492d768749333ad6fcc214c111e967"
    conflict.command("list", epilog=f"Example: [bold]deedbox conflict list {example}[/bold].")(listing)
    conflict.command("show", epilog=f"Example: [bold]deedbox conflict show {example} 3fa1[/bold].")(show)
    conflict.command("apply", epilog=f"Example: [bold]deedbox conflict apply {example} 3fa1[/bold].")(apply)
    app.add_typer(conflict, name="conflict", rich_help_panel=panel)


def listing(request: Request, *, source: Source = "default", as_json: Json = False) -> None:
    """List the other bodies of a request's facts, and in which fields they differ from the one that came first."""
    from deedbox.ops.cli import conflicts_page
    from deedbox.ops.wording.output import write_json

    _, found = _find(source, request)
    if as_json:
        write_json({"conflicts": [conflicts_page.document(each) for each in found]})
    else:
        conflicts_page.write_list(found)


def show(request: Request, body: Body, *, source: Source = "default") -> None:
    """Print both bodies as JSON, the one that was processed and the other. They name signers."""
    from deedbox.ops.cli import conflicts_page
    from deedbox.ops.repair.conflicts import chosen
    from deedbox.ops.wording.output import write_json

    _, found = _find(source, request)
    write_json(conflicts_page.bodies(chosen(found, body)))


def apply(
    request: Request,
    body: Body,
    *,
    source: Source = "default",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Process the other body as a fact of its own: it goes through the bridge, to every action that subscribes.

    It is flagged late if later events of its request have been released. Applied twice, it is still one fact.
    """
    from deedbox.ops.cli import conflicts_page
    from deedbox.ops.cli.asking import confirm, demand_decision
    from deedbox.ops.repair.conflicts import chosen
    from deedbox.ops.wording.output import write_json, write_line

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    conflicts, found = _find(source, request)
    conflict = chosen(found, body)
    if not as_json:
        conflicts_page.write_list([conflict])
    wanted = not (conflict.applied or dry_run) and confirm("Process it as a fact of its own?", yes=yes)
    if wanted:
        conflicts.apply(conflict)
    if as_json:
        done = {"applied": 1} if wanted else None
        write_json({"plan": conflicts_page.document(conflict), "done": done})
    elif wanted:
        write_line("Handed to the bridge; `deedbox trace` shows what becomes of it.")


def _find(source: str, request: str) -> tuple[Conflicts, list[Conflict]]:
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels.timeline import key_of
    from deedbox.ops.repair.conflicts import Conflicts

    conflicts = Conflicts(Installation.load(os.environ).scripts)
    return conflicts, conflicts.of(source, key_of(request))
