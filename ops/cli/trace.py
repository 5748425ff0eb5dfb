"""The command ``trace``."""

from __future__ import annotations

import os

import typer

from deedbox.ops.cli._options import EXAMPLE_ID, LOOK, Json, RequestId, Source
from deedbox.shared.core.errors import DeedboxError

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=LOOK,
        epilog=f"Examples: [bold]deedbox trace {EXAMPLE_ID}[/bold], "
        "[bold]deedbox trace template/c26b8a16 --source sales[/bold].",
    )(trace)


def trace(
    identifier: RequestId,
    *,
    source: Source = "default",
    as_json: Json = False,
) -> None:
    """Show everything that happened to one signature request: arrivals, holds, releases, actions, documents."""
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels import timeline
    from deedbox.ops.wording import trace_page
    from deedbox.ops.wording.output import without_addresses, write_json, write_line
    from deedbox.shared.redis.request_keys import Holdings

    installation = Installation.load(os.environ)
    key = timeline.key_of(identifier)
    found = timeline.read(installation.redis, source, key)
    if found is None:
        at = Holdings(installation.redis).erased_at(f"{source}:{key}")
        if at is not None:
            raise DeedboxError(trace_page.erased(source, key, at))
        names = tuple(dict.fromkeys((source, *installation.source_names())))
        places = timeline.elsewhere(installation.redis, names, key)
        kept = f" Timelines live for {installation.settings.state_retention_days} days after the last event."
        raise DeedboxError(trace_page.unknown("trace", source, key, places, kept))
    if as_json:
        write_json(without_addresses(found.document()))
        return
    for line in trace_page.lines(found):
        write_line(line)
