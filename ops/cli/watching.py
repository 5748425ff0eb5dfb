"""Shows the status once, or again every second until Ctrl-C."""

from __future__ import annotations

import sys
import time
from typing import Final

from rich.live import Live

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels.status import Status, look
from deedbox.ops.wording import status_page
from deedbox.ops.wording.output import console, write_json, write_line
from deedbox.shared.core.errors import Unavailable

WATCH_EVERY_S: Final = 1.0


def show(found: Status, *, as_json: bool, compact: bool = False) -> None:
    """Write one status: JSON (``compact``: on one line), else a page."""
    if as_json:
        write_json(found.document(), compact=compact)
    else:
        console().print(status_page.render(found))


def watch(installation: Installation, *, as_json: bool) -> None:
    """Show the status until Ctrl-C. Raises what the first look raises; later outages are waited for."""
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
    show(first, as_json=as_json, compact=True)
    while True:
        sys.stdout.flush()
        time.sleep(WATCH_EVERY_S)
        try:
            found = look(installation)
        except Unavailable as error:
            sys.stderr.write(f"deedbox: {installation.explained(error)}\n")
            continue
        if not as_json:
            write_line()
        show(found, as_json=as_json, compact=True)


def _live(installation: Installation, first: Status) -> None:
    with Live(status_page.render(first), console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_EVERY_S)
            try:
                live.update(status_page.render(look(installation)), refresh=True)
            except Unavailable as error:
                live.update(installation.explained(error), refresh=True)
