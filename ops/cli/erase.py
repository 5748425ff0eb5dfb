"""``deedbox erase``: remove what is known about one signature request."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli._options import EXAMPLE_ID, REPAIR, DryRun, Json, RequestId, Source, Yes
from deedbox.shared.core.errors import DeedboxError

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=REPAIR,
        epilog=f"Examples: [bold]deedbox erase {EXAMPLE_ID} --dry-run[/bold], "
        "[bold]deedbox erase fa5c8a0b --source sales --documents[/bold].",
    )(erase)


def erase(
    identifier: RequestId,
    *,
    source: Source = "default",
    documents: Annotated[
        bool,
        typer.Option(
            "--documents", help="Remove the stored documents too; run it on the host that has the store."
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove callbacks, state, queue entries and dead letters of one signature request. This cannot be undone.

    Callbacks that still arrive for the request are ignored, until none has come for DEEDBOX_STATE_RETENTION_DAYS.
    """
    from deedbox.ops.cli._terminal import confirm, demand_decision
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels import timeline
    from deedbox.ops.wording import erase_page
    from deedbox.ops.wording.output import write_json
    from deedbox.shared.redis.erasure import Asker, Eraser, demand_erasable
    from deedbox.shared.redis.request_keys import Subject
    from deedbox.shared.runtime import logs

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    settings = installation.settings
    logs.configure(settings.log_format, "erase")  # the audit line goes to stderr
    subject = Subject(source, timeline.key_of(identifier))
    demand_erasable(subject)
    eraser = Eraser(installation.scripts, installation.documents, settings.retention)
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
    if there and not dry_run and confirm(f"Erase {subject.ordering_key}? This cannot be undone.", yes=yes):
        removed = eraser.erase(subject, documents=documents, by=Asker.OPERATOR)
        if not as_json:
            erase_page.write_removed(removed)
    if as_json:
        write_json({
            "source": subject.source, "ordering_key": subject.ordering_key, "found": found.document(),
            "removed": removed.document() if removed else None,
        })  # fmt: skip
