"""Commands that look and change nothing: ``status``, ``trace``, ``check``."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from deedbox.shared.core.errors import DeedboxError

PANEL: Final = "Look"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

# Imports inside the commands: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        rich_help_panel=PANEL,
        epilog="Examples: [bold]deedbox status --watch[/bold], "
        "[bold]deedbox status --json | jq .stages.inbox.depth[/bold].",
    )(status)
    app.command(
        rich_help_panel=PANEL,
        epilog="Examples: [bold]deedbox trace fa5c8a0b0f492d768749333ad6fcc214c111e967[/bold], "
        "[bold]deedbox trace template/c26b8a16 --source sales[/bold].",
    )(trace)
    app.command(
        rich_help_panel=PANEL,
        epilog="Exit code: 0 if nothing failed (warnings are allowed), 1 if something did, 2 if the settings are "
        "not usable. Example: [bold]deedbox check --offline[/bold].",
    )(check)


def status(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every second until Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how much waits where and for how long, who works on it, and what is wrong."""
    from deedbox.ops.cli import watching
    from deedbox.ops.installation import Installation
    from deedbox.ops.readmodels.status import look

    installation = Installation.load(os.environ)
    if watch:
        watching.watch(installation, as_json=as_json)
    else:
        watching.show(look(installation), as_json=as_json)


def trace(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="A signature_request_id, or a key such as template/c26b8a16.")
    ],
    *,
    source: Annotated[str, typer.Option(help="The tenant, as in /callbacks/<source>.")] = "default",
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
        days = installation.settings.state_retention_days
        raise DeedboxError(trace_page.unknown(source, key, places, days))
    if as_json:
        write_json(without_addresses(found.document()))
        return
    for line in trace_page.lines(found):
        write_line(line)


def check(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Do not call the Dropbox Sign API.")] = False,
    as_json: Json = False,
) -> None:
    """Check settings, keys, Redis, broker, document store, workers and callback URL, each with a fix."""
    from deedbox.ops import checks
    from deedbox.ops.cli import check_page
    from deedbox.ops.wording.output import write_json

    findings = []
    for finding in checks.run(os.environ, offline=offline):
        findings.append(finding)
        if not as_json:
            check_page.write(finding)
    code = checks.exit_code(findings)
    if as_json:
        write_json({"ok": code == 0, "checks": [finding.document() for finding in findings]})
    raise typer.Exit(code)
