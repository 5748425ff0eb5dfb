"""The command ``reconcile``, which asks the API what callbacks missed."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli.repair import PANEL, DryRun, Json, Yes
from deedbox.ops.cli.running import _become


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=PANEL,
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
            help="How much older than that a request may be: it is listed by its creation.",
        ),
    ] = "30d",
    source: Annotated[str, typer.Option(help="The tenant, as in /callbacks/<source>.")] = "default",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Ask the API what callbacks missed, and repair it: for the hours in which the endpoint was down.

    Lists the account's signature requests, compares each with what is known here, and hands those with a gap to
    the workers: they read them again, bring the read model up to date and fetch missing documents, within the
    account's budgets. User actions learn of it through deedbox.reconciled. Safe to repeat.
    """
    flags = {"--dry-run": dry_run, "--yes": yes, "--json": as_json}
    chosen = [flag for flag, on in flags.items() if on]
    _become("reconcile", f"--since={since}", f"--reach={reach}", f"--source={source}", *chosen)
