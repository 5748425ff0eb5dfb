"""The command ``check``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli._options import LOOK, Json

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=LOOK,
        epilog="Exit code: 0 if nothing failed (warnings are allowed), 1 if something did, 2 if the settings are "
        "not usable. Example: [bold]deedbox check --offline[/bold].",
    )(check)


def check(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Do not call the Dropbox Sign API.")] = False,
    as_json: Json = False,
) -> None:
    """Check settings, keys, Redis, broker, document store, workers and callback URL, each with a fix."""
    from deedbox.ops import checks
    from deedbox.ops.wording import check_page
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
