"""The command ``reconcile``; a worker process does the work."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli._options import REPAIR, DryRun, Json, Source, Yes
from deedbox.ops.cli._terminal import become
from deedbox.shared.command_options import ReconcileOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=REPAIR,
        epilog="Examples: [bold]deedbox reconcile --since 6h --dry-run[/bold], "
        "[bold]deedbox reconcile --since 2026-03-01T14:00 --source sales --yes[/bold].",
    )(reconcile)


def reconcile(
    *,
    since: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="Since when callbacks may be missing: 90min, 24h, 7d, or a time in UTC."
        ),
    ] = "24h",
    reach: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How much older than that a request may be: requests are listed by their creation.",
        ),
    ] = "30d",
    source: Source = "default",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Ask the API what was missed while callbacks could not arrive, and repair it.

    It lists the account's signature requests and compares each with what is known here. Requests with a gap go to the
    workers. These read each request again, bring the read model up to date and fetch missing documents, within the
    account's budgets. Your actions learn of it through deedbox.reconciled. It is safe to repeat.
    """
    options = ReconcileOptions(
        source=source, since=since, reach=reach, dry_run=dry_run, yes=yes, as_json=as_json
    )
    become("reconcile", options.dump())
