"""The command ``runbook``: what to do about a reason, an alert or a warning."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli._options import LOOK


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=LOOK,
        epilog="Examples: [bold]deedbox runbook bad_event_hash[/bold], [bold]deedbox runbook redis is full[/bold].",
    )(runbook)


def runbook(
    section: Annotated[
        list[str] | None,
        typer.Argument(metavar="SECTION", help="A reason, the name of an alert, or a heading."),
    ] = None,
) -> None:
    """Show a section of the runbook: what to do about a reason, an alert or a warning. Without a name, list the sections.

    It needs no Redis and no settings.
    """
    from deedbox.ops import runbook as book
    from deedbox.ops.wording.output import write_line

    if not section:
        write_line(book.contents())
        return
    found = book.section(section)
    write_line(f"{found.title}\n\n{found.text}".strip())
    if found.parts:
        write_line("\nSections: " + ", ".join(found.parts))
