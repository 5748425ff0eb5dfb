"""The command ``audit``: who changed what, and when."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from deedbox.ops.cli._options import LOOK, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deedbox.shared.audit import AuditLine


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=LOOK, epilog="Example: [bold]deedbox audit --limit 20[/bold].")(audit)


def audit(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show at most this many.")] = 50,
    as_json: Json = False,
) -> None:
    """List what people changed, newest first: who, when, which operation, how many.

    Every operation is recorded, whether it came from a command, the dashboard or the status API. The 10,000 newest are kept.
    A command's user is what its machine says; a token's name is proven.
    """
    from deedbox.ops.installation import Installation
    from deedbox.ops.wording.output import write_json, write_line
    from deedbox.shared.audit.audit_log import read

    found = read(Installation.load(os.environ).redis, limit)
    if as_json:
        write_json({"operations": [line.document() for line in found]})
    elif found:
        _write(found)
    else:
        write_line("Nobody has changed anything yet.")


def _write(found: Sequence[AuditLine]) -> None:
    from deedbox.ops.wording.output import clock, write_table

    rows = [
        (
            *(clock(line.at), line.who, line.way, line.operation),
            *("broke off" if line.count is None else str(line.count), line.asked_in_words()),
        )
        for line in found
    ]
    write_table(("at (UTC)", "who", "from", "operation", "count", "asked"), rows)
