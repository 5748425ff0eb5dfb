"""The commands of ``spool``. The spool belongs to ingress, which does the work; its marks in Redis are shown from here."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli._options import REPAIR, Json
from deedbox.ops.cli._terminal import auditing, become
from deedbox.shared.audit import AuditedOperation

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
    spool.command("forget", epilog="Example: [bold]deedbox spool forget web-3[/bold].")(forget)
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


def forget(
    host: Annotated[
        str,
        typer.Argument(metavar="HOST", help="The host, or the id of its spool. Without it, all are shown."),
    ] = "",
    *,
    as_json: Json = False,
) -> None:
    """Stop counting the callbacks in the spool of a host that is gone for good; without HOST, show all spools.

    Nothing waits for a host that has been silent for a minute: this only ends the warnings. A host that comes back
    with its disk is counted again, and its callbacks are published.
    """
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair import spool_marks
    from deedbox.ops.wording import spools_page
    from deedbox.ops.wording.output import write_json

    installation = Installation.load(os.environ)
    redis = installation.redis
    if host:
        with auditing(installation).operation(AuditedOperation.FORGET_SPOOL, host=host) as done:
            gone, living = spool_marks.forget(redis, host)
            done.count = gone
        write_json({"forgotten": gone, "living": living}) if as_json else spools_page.write_forgotten(
            host, gone, living
        )
        raise typer.Exit(0 if gone else 1)
    marks, now = spool_marks.read(redis)
    if as_json:
        write_json({"spools": marks.rows(now)})
    else:
        spools_page.write_hosts(marks, now)
