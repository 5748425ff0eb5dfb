"""The command ``status``: once, or again every second until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deedbox.ops.cli._options import LOOK, Json
from deedbox.shared.core.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels.status import Status

# Imports inside the command: they cost what `deedbox worker` and the others do not need.

WATCH_EVERY_S: Final = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=LOOK,
        epilog="Examples: [bold]deedbox status --watch[/bold], "
        "[bold]deedbox status --json | jq .stages.inbox.depth[/bold].",
    )(status)


def status(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every second until Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how many callbacks, events and calls wait at each stage, since when, which workers live, and each problem."""
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels.status import look

    installation = Installation.load(os.environ)
    if watch:
        _watch(installation, as_json=as_json)
    else:
        _show(installation, look(installation), as_json=as_json)


def _page(installation: Installation, found: Status) -> RenderableType:
    from deedbox.ops.readmodels.status import reasons
    from deedbox.ops.wording import status_page

    return status_page.render(found, reasons(installation.redis, found.survey))


def _show(installation: Installation, found: Status, *, as_json: bool, compact: bool = False) -> None:
    """Write one status: JSON (``compact``: on one line), else a page."""
    from deedbox.ops.wording.output import console, write_json

    if as_json:
        write_json(found.document(), compact=compact)
    else:
        console().print(_page(installation, found))


def _watch(installation: Installation, *, as_json: bool) -> None:
    """Show the status until Ctrl-C. Raises what the first look raises; later outages are waited for."""
    from deedbox.ops.readmodels.status import look

    first = look(installation)
    try:
        if as_json or not sys.stdout.isatty():
            _snapshots(installation, first, as_json=as_json)
        else:
            _live(installation, first)
    except KeyboardInterrupt:
        return


def _snapshots(installation: Installation, first: Status, *, as_json: bool) -> None:
    """Write a snapshot a second: JSON on a line each, else pages with an empty line between."""
    from deedbox.ops.readmodels.status import look
    from deedbox.ops.wording.output import write_line

    _show(installation, first, as_json=as_json, compact=True)
    while True:
        sys.stdout.flush()
        time.sleep(WATCH_EVERY_S)
        try:
            found = look(installation)
            if not as_json:
                write_line()
            _show(installation, found, as_json=as_json, compact=True)
        except Unavailable as error:
            sys.stderr.write(f"deedbox: {installation.explained(error)}\n")


def _live(installation: Installation, first: Status) -> None:
    from rich.live import Live

    from deedbox.ops.readmodels.status import look
    from deedbox.ops.wording.output import console

    with Live(_page(installation, first), console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_EVERY_S)
            try:
                live.update(_page(installation, look(installation)), refresh=True)
            except Unavailable as error:
                live.update(installation.explained(error), refresh=True)
