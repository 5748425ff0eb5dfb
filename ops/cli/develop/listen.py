"""The command ``listen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deedbox.ops.cli._options import DEVELOP
from deedbox.ops.wording.times import SYNTAX
from deedbox.shared.core.errors import SettingsError

# Imports inside the command: they cost what `deedbox worker` and the others do not need.


Url = Annotated[str, typer.Option(metavar="URL", help="Address of the other Deedbox's ops process.")]
Target = Annotated[str, typer.Option(metavar="URL", help="Where the events go on this machine.")]
Token = Annotated[
    str,
    typer.Option(
        metavar="TOKEN",
        envvar="DEEDBOX_OPS_TOKEN",
        show_envvar=True,
        help="A token of the other Deedbox with the scopes read and documents.",
    ),
]
Since = Annotated[str, typer.Option(metavar="SPAN", help=f"Begin with the events since then: {SYNTAX}.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", help="Only this type; a prefix may end in *. May be given several times."
    ),
]
Sources = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only this source. May be given several times.")
]
Secret = Annotated[
    str,
    typer.Option(metavar="whsec_...", help="Signs the messages; without it, a new one, which is printed."),
]
Payload = Annotated[bool, typer.Option("--payload/--no-payload", help="Forward the callbacks' bodies too.")]
PlaceFile = Annotated[
    Path, typer.Option(metavar="FILE", help="Remembers where this run ended, for the next one.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel=DEVELOP,
        epilog="Example: [bold]deedbox listen --url https://deedbox.example.com --token ... --to "
        "http://localhost:3000/hook --since 2h[/bold].",
    )(listen)


def listen(  # noqa: PLR0913 - one parameter per option
    *,
    url: Url,
    to: Target,
    token: Token,
    since: Since = "",
    event_type: Types = None,
    source: Sources = None,
    secret: Secret = "",
    payload: Payload = True,
    place: PlaceFile = Path(".deedbox-listen.json"),
) -> None:
    """Forward the clean events of a Deedbox elsewhere to a handler on this machine, until Ctrl-C.

    Each event arrives as a destination would send it. The next run goes on where this one ended. While your handler does
    not listen, events wait; an answer that is no 2xx is printed, and the next event follows.
    """
    import os
    import time

    from deedbox.ops.develop.listening import Chosen, Forwarding, Place, Remote, place_name
    from deedbox.ops.wording.output import write_line
    from deedbox.ops.wording.times import moment
    from deedbox.shared import webhook_message

    wanted = Chosen(tuple(event_type or ()), tuple(source or ()), payload=payload)
    remote = Remote(url, token, wanted)
    begin = moment(since, "--since", time.time()) if since else None
    if not to.startswith(("http://", "https://")):
        raise SettingsError("--to is no address such as http://localhost:3000/hook; correct it.")
    try:
        key = webhook_message.key_of(secret) if secret else os.urandom(32)
    except ValueError as error:
        raise SettingsError(f"--secret {error}.") from None
    write_line(f"Forwarding {remote.url} -> {to}. Ctrl-C ends; the next run goes on from here.")
    if not secret:
        write_line(f"Your handler verifies the messages with the secret {webhook_message.secret_of(key)}")
    Forwarding(remote, to, key, Place(place, place_name(remote.url, wanted)), write_line).run(begin)
