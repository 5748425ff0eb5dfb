"""The command ``up``, one command for each type of process, as a Procfile runs them, and ``sign-in`` to the dashboard."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Annotated

import typer

from deedbox.ops.cli._options import LOOK, RUN, Json
from deedbox.ops.cli._terminal import become

# Imports inside the commands: `deedbox worker` is replaced by the worker at once, it needs none of the rest.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=RUN)(up)
    app.command(
        rich_help_panel=RUN, epilog="Example: [bold]deedbox worker --lane documents --processes 2[/bold]."
    )(worker)
    app.command(rich_help_panel=RUN)(bridge)
    app.command(rich_help_panel=RUN)(sweeper)
    app.command(rich_help_panel=RUN)(ops)
    app.command("sign-in", rich_help_panel=LOOK, epilog="Example: [bold]deedbox sign-in[/bold].")(sign_in)


def up(
    *,
    without_lane: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Start no workers of this lane: you run them, in a debugger. Repeatable."
        ),
    ] = None,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Start the workers again when a .py file below this folder changed."),
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C: web, bridge, workers, sweeper, ops, and a Redis if none is named.

    A process that ends is started again. Only DEEDBOX_API_KEYS must be set. The next settings to look at are PORT
    (8000), DEEDBOX_ACTIONS and DEEDBOX_REDIS_URL.
    """
    from deedbox.ops.supervise.fork_client import ForkServer

    with ExitStack() as stack:
        # First: it imports what the programs need while this process imports what it needs itself. Not with --reload:
        # Deedbox's own code may be among what is reloaded.
        forks = None if reload else stack.enter_context(ForkServer(os.environ))
        from deedbox.ops.supervise.speaker import Speaker
        from deedbox.ops.supervise.up import up as run

        speaker = Speaker()
        stack.callback(speaker.close)
        raise typer.Exit(run(os.environ, speaker.say, forks, without=without_lane or ()))


def worker(
    *,
    lane: Annotated[
        str, typer.Option(help="The lane: sequencer, documents, default, or one that your actions name.")
    ],
    processes: Annotated[int, typer.Option(min=1, max=256, help="How many worker processes.")] = 1,
) -> None:
    """Run the workers of one lane."""
    if processes == 1:
        become("worker", "--lane", lane)
    raise typer.Exit(_run_several(lane, processes))


def bridge() -> None:
    """Run the bridge: it moves callbacks from the broker into the inbox."""
    become("bridge")


def sweeper() -> None:
    """Run the sweeper: it starts work whose time has come, such as retries, and events that waited long enough."""
    become("sweeper")


def ops() -> None:
    """Run the dashboard, the status API and the metrics, on OPS_PORT (8001) of the loopback address.

    `deedbox sign-in` prints a link to it. Programs need a token: DEEDBOX_OPS_TOKEN or DEEDBOX_OPS_TOKENS; without them,
    one is made in the file ops/token of the data directory.
    It also sends alerts about Redis, workers, ages and disks to DEEDBOX_ALERT_URLS.
    """
    become(module="deedbox.ops.web")


def sign_in(*, as_json: Json = False) -> None:
    """Print a link that signs one browser in to the dashboard, once, within ten minutes.

    Run it on the machine of `deedbox ops`, as the same user: the link is checked against a file in the data directory.
    If you reach the dashboard under another address, open the same path there.
    """
    from deedbox.ops.sessions import LINK_S, new_link
    from deedbox.ops.supervise.readiness import ops_url
    from deedbox.ops.wording.output import write_json, write_line
    from deedbox.shared.settings import Settings

    settings = Settings.load(os.environ)
    link = new_link(settings, ops_url(settings))
    if as_json:
        write_json({"link": link, "seconds": LINK_S})
    else:
        write_line(link)


def _run_several(lane: str, count: int) -> int:
    from deedbox.ops.supervise import processes, supervisor
    from deedbox.ops.supervise.fork_client import WORKERS, ForkServer
    from deedbox.ops.supervise.speaker import Speaker
    from deedbox.shared.core.errors import SettingsError

    known = processes.learn_lanes(os.environ)
    if lane not in known:
        # One process says so itself and ends; several would be started again for ever.
        raise SettingsError(
            f"No registered action names the lane {lane}; the lanes are {', '.join(known)}. "
            "Correct --lane, DEEDBOX_ACTIONS or DEEDBOX_BUILTINS."
        )
    command = (sys.executable, "-m", "deedbox.workers", "worker", "--lane", lane)
    program = supervisor.Program(f"worker-{lane}", command, numprocs=count, stop_wait_s=30)
    speaker = Speaker()
    try:
        with ForkServer(os.environ, (WORKERS,)) as forks:
            return supervisor.run(
                [program], on_exit=lambda end: speaker.say(f"deedbox: {end}"), fork_server=forks
            )
    finally:
        speaker.close()
