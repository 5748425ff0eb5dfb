"""``deedbox erase``: remove what is known about one signature request."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli.repair import PANEL, DryRun, Json, Yes
from deedbox.shared.core.errors import DeedboxError

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=PANEL,
        epilog="Examples: [bold]deedbox erase fa5c8a0b0f492d768749333ad6fcc214c111e967 --dry-run[/bold], "
        "[bold]deedbox erase fa5c8a0b --source sales --documents[/bold].",
    )(erase)


def erase(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="A signature_request_id, or a key such as fax/c26b8a16.")
    ],
    *,
    source: Annotated[str, typer.Option(help="The tenant, as in /callbacks/<source>.")] = "default",
    documents: Annotated[
        bool, typer.Option("--documents", help="The stored documents too; run it where the store is.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove callbacks, state, queue entries and dead letters of one signature request, for good.

    A tombstone stays for DEEDBOX_STATE_RETENTION_DAYS after the last repeat: what still comes for the request is a
    duplicate, and kept nowhere.
    """
    from deedbox.ops.cli import erase_page
    from deedbox.ops.cli.asking import confirm, demand_decision
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels import timeline
    from deedbox.ops.wording.output import write_json
    from deedbox.shared.documents import DocumentStore
    from deedbox.shared.redis.erasure import Asker, Eraser, demand_erasable
    from deedbox.shared.redis.request_keys import Subject
    from deedbox.shared.runtime import logs

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    settings = installation.settings
    logs.configure(settings.log_format, "erase")  # the audit line goes to stderr
    subject = Subject(source, timeline.key_of(identifier))
    demand_erasable(subject)
    eraser = Eraser(installation.scripts, DocumentStore(settings.documents_dir), settings.retention)
    found = eraser.find(subject)
    if not found.known:
        names = tuple(dict.fromkeys((source, *installation.source_names())))
        raise DeedboxError(
            erase_page.unknown(subject, timeline.elsewhere(installation.redis, names, subject.ordering_key))
        )
    if not as_json:
        erase_page.write_found(subject, found, documents=documents)
    removed = None
    there = found.in_redis or (documents and found.documents)
    if there and not dry_run and confirm(f"Erase {subject.ordering_key} for good?", yes=yes):
        removed = eraser.erase(subject, documents=documents, by=Asker.OPERATOR)
        if not as_json:
            erase_page.write_removed(removed)
    if as_json:
        write_json({
            "source": subject.source, "ordering_key": subject.ordering_key, "found": found.document(),
            "removed": removed.document() if removed else None,
        })  # fmt: skip
