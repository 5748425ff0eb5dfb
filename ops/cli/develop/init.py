"""The command ``init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deedbox.ops.cli._options import DEVELOP

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=DEVELOP,
        epilog="Examples: [bold]deedbox init[/bold], [bold]deedbox init myproject[/bold].",
    )(init)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where; made if it does not exist.")
    ] = Path(),
) -> None:
    """Write the files of a new project: .env, callbacks.py, a test and compose.yaml; then say what to do next.

    No file is overwritten: what is there stays as it is.
    """
    from deedbox.ops.develop import new_project
    from deedbox.ops.wording.output import write_line

    for line in new_project.begin(folder):
        write_line(line)
