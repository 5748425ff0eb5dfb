"""The command ``alert-test``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli._options import LOOK, Json
from deedbox.shared.core.errors import SettingsError

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "alert-test",
        rich_help_panel=LOOK,
        epilog="Exit code: 1 if a receiver did not take it. Example: [bold]deedbox alert-test --receiver 2[/bold].",
    )(alert_test)


def alert_test(
    *,
    receiver: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the nth URL of DEEDBOX_ALERT_URLS.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send one test message to each receiver in DEEDBOX_ALERT_URLS, and report which of them did not take it."""
    import time

    from deedbox.ops.wording.output import write_json, write_line
    from deedbox.shared.alerts import alert_text
    from deedbox.shared.alerts.alerting import Kind, Message
    from deedbox.shared.alerts.targets import demand, described, send
    from deedbox.shared.settings import Settings

    found = demand(Settings.load(os.environ))
    if not found:
        raise SettingsError("DEEDBOX_ALERT_URLS is not set; say there where alerts go.")
    chosen = [each for each in found if receiver in {None, each.number}]
    if not chosen:
        raise SettingsError(
            f"DEEDBOX_ALERT_URLS has {len(found)} URLs; --receiver is one of 1 to {len(found)}."
        )
    now = time.time()
    message = Message(Kind.TEST, "", now, now)
    title, body = alert_text.title(message), alert_text.body(message)
    rows = []
    for each in chosen:
        taken = send(each, title, body, alert_text.severity(message))
        rows.append({"receiver": described(each), "taken": taken})
        if not as_json:
            write_line(f"{'sent' if taken else 'FAILED':<7} {described(each)}")
    failed = sum(not row["taken"] for row in rows)
    if as_json:
        write_json({"ok": not failed, "receivers": rows})
    elif failed:
        write_line("Check the URL, the service's own settings, and the way out of this network.")
    raise typer.Exit(1 if failed else 0)
