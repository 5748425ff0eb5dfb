"""The commands ``callback-url show`` and ``set``."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli.repair import PANEL, DryRun, Json, Yes
from deedbox.ops.cli.running import _become

App = Annotated[str, typer.Option("--app", metavar="CLIENT_ID", help="This API app only.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = typer.Typer(
        no_args_is_help=True, help="Show the callback URLs that Dropbox Sign has, or put them back."
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
    app.add_typer(commands, name="callback-url", rich_help_panel=PANEL)


def show(
    *,
    source: Annotated[str, typer.Option(help="This tenant only; else all of them.")] = "",
    app: App = "",
    as_json: Json = False,
) -> None:
    """Show the callback URL of each account, and of the apps in client_ids, beside the one that it should be."""
    _run("show", f"--source={source}", f"--app={app}", **{"--json": as_json})


def put(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="By default DEEDBOX_CALLBACK_URL, or the source's own.")
    ] = "",
    *,
    source: Annotated[str, typer.Option(help="The tenant, as in /callbacks/<source>.")] = "default",
    app: App = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put a callback URL back where it is missing or another: at the account and the apps of a source.

    Dropbox Sign drops a URL after ten failures in a row. Afterwards: `deedbox reconcile` for what was missed.
    """
    flags = {"--dry-run": dry_run, "--yes": yes, "--json": as_json}
    _run("set", f"--url={url}", f"--source={source}", f"--app={app}", **flags)


def _run(verb: str, *options: str, **flags: bool) -> None:
    _become("callback-url", verb, *options, *(flag for flag, on in flags.items() if on))
