"""The commands of ``spool``. The spool belongs to ingress, which does the work; its marks in Redis are shown from here."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli._options import REPAIR, Json
from deedbox.ops.cli._terminal import become

Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="As `deedbox spool status` shows them.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    spool = typer.Typer(
        no_args_is_help=True,
        help="Look at callbacks that wait on this host's disk because the broker was away, and publish them.",
    )
    spool.command("status")(status)
    spool.command("drain")(drain)
    spool.command("redrive")(redrive)
    spool.command("discard")(discard)
    app.add_typer(spool, name="spool", rich_help_panel=REPAIR)


def status(*, as_json: Json = False) -> None:
    """Show how many callbacks wait on this host's disk, and which were set aside because they cannot be published."""
    become("spool", *(["--json"] if as_json else []), module="deedbox.ingress")


def drain(*, as_json: Json = False) -> None:
    """Publish the callbacks that wait on this host's disk, oldest first, without the web process.

    Web processes do this by themselves. The command is for a host whose web process is gone; it is safe beside them.
    """
    become("drain", *(["--json"] if as_json else []), module="deedbox.ingress")


def redrive(ids: Ids) -> None:
    """Publish callbacks of this host that were set aside once more."""
    become("redrive", *map(str, ids), module="deedbox.ingress")


def discard(ids: Ids) -> None:
    """Remove callbacks of this host that were set aside. They are gone for good."""
    become("discard", *map(str, ids), module="deedbox.ingress")
