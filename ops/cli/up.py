"""The command ``up``."""

from __future__ import annotations

import os

import typer

from deedbox.ops.cli._options import RUN


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=RUN)(up)


def up() -> None:
    """Run everything on this machine until Ctrl-C: web, bridge, workers, sweeper, ops, and a Redis if none is named.

    A process that ends is started again. Only DEEDBOX_API_KEYS must be set. The next settings to look at are PORT
    (8000), DEEDBOX_ACTIONS and DEEDBOX_REDIS_URL.
    """
    from deedbox.ops.supervise.speaker import Speaker
    from deedbox.ops.supervise.up import up as run

    speaker = Speaker()
    try:
        code = run(os.environ, speaker.say)
    finally:
        speaker.close()
    raise typer.Exit(code)
