"""The command ``send``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli._options import DEVELOP, Json

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=DEVELOP,
        epilog="Exit code: 1 if the answer is no acknowledgement. Example: [bold]deedbox send signature_request_signed "
        "--to http://127.0.0.1:8000/callbacks[/bold].",
    )(send)


def send(
    event_type: Annotated[
        str, typer.Argument(metavar="EVENT", help="The event type, such as signature_request_signed.")
    ],
    *,
    to: Annotated[
        str, typer.Option(metavar="URL", help="The callback URL: of Deedbox, or of a handler of yours.")
    ],
    api_key: Annotated[
        str, typer.Option(metavar="KEY", help="What signs it; without it, the first key of DEEDBOX_API_KEYS.")
    ] = "",
    request_id: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Of the signature request, template, account or fax; else a new one."
        ),
    ] = "",
    signers: Annotated[int, typer.Option(min=1, max=100, help="How many signers the request has.")] = 1,
    as_json: Json = False,
) -> None:
    """Send one signed callback, as Dropbox Sign would, and print the answer.

    A refusal is explained. The callback is about a signature request that does not exist: an action that asks the API about
    it learns that.
    """
    from deedbox.ops.demo.simulate import first_key
    from deedbox.ops.develop import one_callback
    from deedbox.ops.wording.output import write_json, write_line

    sent = one_callback.send(event_type, to, api_key or first_key(os.environ), request_id, signers)
    if as_json:
        write_json(sent.document())
    else:
        for line in sent.lines():
            write_line(line)
    raise typer.Exit(0 if sent.acknowledged else 1)
