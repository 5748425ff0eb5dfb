"""The commands ``spool status`` and ``spool drain``; the spool belongs to ingress, which does the work."""

from __future__ import annotations

import typer

from deedbox.ops.cli._options import REPAIR, Json
from deedbox.ops.cli._terminal import become


def register(app: typer.Typer) -> None:
    """Add the commands."""
    spool = typer.Typer(
        no_args_is_help=True,
        help="Look at callbacks that wait on this host's disk because the broker was away, and publish them.",
    )
    spool.command("status")(status)
    spool.command("drain")(drain)
    app.add_typer(spool, name="spool", rich_help_panel=REPAIR)


def status(*, as_json: Json = False) -> None:
    """Show how many callbacks wait on this host's disk, and since when."""
    become("spool", *(["--json"] if as_json else []), module="deedbox.ingress")


def drain(*, as_json: Json = False) -> None:
    """Publish the callbacks that wait on this host's disk, oldest first, without the web process.

    Web processes do this by themselves. The command is for a host whose web process is gone; it is safe beside them.
    """
    become("drain", *(["--json"] if as_json else []), module="deedbox.ingress")
