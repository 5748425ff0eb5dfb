"""The command ``call``; a worker process does the work."""

from __future__ import annotations

from typing import Annotated

import typer

from deedbox.ops.cli._options import DEVELOP, EXAMPLE_ACTION, EXAMPLE_ID, Json, Source
from deedbox.ops.cli._terminal import become
from deedbox.shared.command_options import CallOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=DEVELOP,
        epilog=f"Example: [bold]deedbox call {EXAMPLE_ID} --action {EXAMPLE_ACTION} --pdb[/bold].",
    )(call)


def call(
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A signature_request_id, or a key such as template/c26b8a16: the newest event that the action wants. "
            "Or the fingerprint of one event.",
        ),
    ],
    *,
    action: Annotated[str, typer.Option(metavar="NAME", help="The action, such as " + EXAMPLE_ACTION + ".")],
    source: Source = "default",
    pdb: Annotated[
        bool, typer.Option("--pdb", help="No time limit; if the action fails, debug it where it failed.")
    ] = False,
    commit: Annotated[
        bool,
        typer.Option(
            "--commit",
            help="If the call is done, record its outcome, notes, emitted events and, of `track_status`, the read model.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run one action here, in the foreground, on a stored event. breakpoint() in it works.

    The action runs for real, with the event's own idempotency key. Nothing is recorded unless you say --commit, and queues
    stay as they are: a call that waits there is made all the same.
    """
    options = CallOptions(
        source=source, as_json=as_json, identifier=identifier, action=action, pdb=pdb, commit=commit
    )
    become("call", options.dump())
