"""``deedbox erase`` and ``deedbox rotate-keys``: remove what is known about one signature request, backups included."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from deedbox.ops.cli._options import EXAMPLE_ID, REPAIR, DryRun, Json, RequestId, Source, Yes
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.core.errors import DeedboxError, SettingsError

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


Documents = Annotated[
    bool,
    typer.Option(
        "--documents", help="Remove the stored documents too; run it on the host that has the store."
    ),
]
ReceiptFile = Annotated[
    Path | None,
    typer.Option(
        "--receipt", metavar="FILE", help="Write a receipt without personal data (JSON); - for stdout."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        rich_help_panel=REPAIR,
        epilog=f"Examples: [bold]deedbox erase {EXAMPLE_ID} --dry-run[/bold], "
        "[bold]deedbox erase fa5c8a0b --source sales --documents[/bold].",
    )(erase)
    app.command("rotate-keys", rich_help_panel=REPAIR, epilog="Example: [bold]deedbox rotate-keys[/bold].")(
        rotate_keys
    )


def erase(
    identifier: RequestId,
    *,
    source: Source = "default",
    documents: Documents = False,
    receipt: ReceiptFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove callbacks, state, queue entries and dead letters of one signature request. This cannot be undone.

    Where encryption is on, its keys are destroyed too. Callbacks that still arrive for the request are ignored, until none has come for DEEDBOX_STATE_RETENTION_DAYS.
    """
    from deedbox.ops.cli._terminal import auditing, confirm, demand_decision
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels import timeline
    from deedbox.ops.wording import erase_page, trace_page
    from deedbox.ops.wording.output import write_json
    from deedbox.shared.redis.erasure import Asker, Eraser, demand_erasable
    from deedbox.shared.redis.request_keys import Subject
    from deedbox.shared.runtime import logs

    demand_decision(as_json=as_json, dry_run=dry_run, yes=yes)
    installation = Installation.load(os.environ)
    settings = installation.settings
    logs.configure(settings.log_format, "erase")  # what was erased goes to stderr, too
    subject = Subject(source, timeline.key_of(identifier))
    demand_erasable(subject)
    eraser = Eraser(installation.scripts, installation.documents, settings.retention)
    found = eraser.find(subject)
    if not found.known:
        names = tuple(dict.fromkeys((source, *installation.source_names())))
        places = timeline.elsewhere(installation.redis, names, subject.ordering_key)
        raise DeedboxError(trace_page.unknown("erase", source, subject.ordering_key, places))
    if not as_json:
        erase_page.write_found(subject, found, documents=documents)
    removed = None
    there = found.in_redis or (documents and found.documents)
    if there and not dry_run and confirm(f"Erase {subject.ordering_key}? This cannot be undone.", yes=yes):
        if receipt is not None:
            erase_page.demand_writable(receipt)
        asked = {"source": source, "key": subject.ordering_key, "documents": documents}
        with auditing(installation).operation(AuditedOperation.ERASE, **asked) as done:
            removed = eraser.erase(subject, documents=documents, by=Asker.OPERATOR)
            done.count = 1
        if receipt is not None:
            erase_page.write_receipt(receipt, removed.receipt(subject, Asker.OPERATOR, time.time()))
        if not as_json:
            erase_page.write_removed(removed)
    if as_json:
        write_json({
            "source": subject.source, "ordering_key": subject.ordering_key, "found": found.document(),
            "removed": removed.document() if removed else None,
        })  # fmt: skip


def rotate_keys(*, as_json: Json = False) -> None:
    """Wrap all encryption keys of requests anew, under the first key of DEEDBOX_ENCRYPTION_KEYS.

    Add a new key in two steps, each with a restart of every process: first behind the old one, then in front of it. Then run this command. It says which keys nothing needs any more; remove those from the setting.

    It may run beside everything else, may be interrupted, and goes on where it stopped when it is started again. A backup whose keys were all wrapped by a removed key cannot be read any more, once that key is destroyed.
    """
    from deedbox.ops.cli._terminal import auditing, progress
    from deedbox.ops.installation import Installation
    from deedbox.ops.wording import rotation_page
    from deedbox.ops.wording.output import write_json

    installation = Installation.load(os.environ)
    if not installation.settings.encryption_ring:
        raise SettingsError("DEEDBOX_ENCRYPTION_KEYS is not set; there is nothing to rotate.")
    from deedbox.ops.repair.rotation import rotate

    with progress() as tell, auditing(installation).operation(AuditedOperation.ROTATE_KEYS) as done:
        found = rotate(installation, tell)
        done.count = found.rewrapped
    if as_json:
        write_json(found.document())
    else:
        rotation_page.write(found)
    if found.missing:
        raise DeedboxError(rotation_page.missing(found.missing))
