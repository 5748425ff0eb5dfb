"""The commands that ask the API, ``callback-url`` and ``reconcile``; a worker process does the work."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli._options import REPAIR, DryRun, Json, Source, Yes
from deedbox.ops.cli._terminal import become
from deedbox.shared.command_options import CallbackUrlOptions, ReconcileOptions

App = Annotated[str, typer.Option("--app", metavar="CLIENT_ID", help="Only this API app.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = typer.Typer(
        no_args_is_help=True, help="Show the callback URLs that Dropbox Sign has, or set them again."
    )
    commands.command(
        "show",
        epilog="Exit code: 1 if a URL is not what it should be. Example: [bold]deedbox callback-url show[/bold].",
    )(show)
    commands.command(
        "set",
        epilog="Examples: [bold]deedbox callback-url set --dry-run[/bold], [bold]deedbox callback-url set "
        "https://hooks.example.com/callbacks --yes[/bold].",
    )(put)
    app.add_typer(commands, name="callback-url", rich_help_panel=REPAIR)
    app.command(
        rich_help_panel=REPAIR,
        epilog="Examples: [bold]deedbox reconcile --since 6h --dry-run[/bold], "
        "[bold]deedbox reconcile --since 2026-03-01T14:00 --source sales --yes[/bold].",
    )(reconcile)


def show(
    *,
    source: Annotated[
        str, typer.Option(metavar="NAME", help="Only this tenant; by default all of them.")
    ] = "",
    app: App = "",
    as_json: Json = False,
) -> None:
    """Show the callback URL of each account and of the apps in client_ids, and what each should be."""
    become("callback-url", CallbackUrlOptions(source=source, app=app, as_json=as_json).dump())


def put(
    url: Annotated[
        str,
        typer.Argument(metavar="[URL]", help="Default: DEEDBOX_CALLBACK_URL, or callback_url of the source."),
    ] = "",
    *,
    source: Source = "default",
    app: App = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set the callback URL again where it is missing or different: at the account and the apps of a source.

    Dropbox Sign removes a URL after ten failures in a row. Run `deedbox reconcile` afterwards for what was missed.
    """
    options = CallbackUrlOptions(
        source=source, put=True, url=url, app=app, dry_run=dry_run, yes=yes, as_json=as_json
    )
    become("callback-url", options.dump())


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
