"""Commands that run something: ``up``, ``demo``, ``simulate``, and one process type at a time."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final, NoReturn

import typer

PANEL: Final = "Run"

# Imports inside the commands: `deedbox worker` is replaced by the worker at once, it needs none of the rest.


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=PANEL)(up)
    app.command(
        rich_help_panel=PANEL,
        epilog="Example: [bold]deedbox demo --requests 200 --keep[/bold], then in another terminal "
        "[bold]DEEDBOX_DATA_DIR=var/demo deedbox status[/bold].",
    )(demo)
    app.command(
        rich_help_panel=PANEL,
        epilog="Example: [bold]DEEDBOX_API_URL=http://127.0.0.1:8090/v3 deedbox up[/bold], then in another terminal "
        "[bold]deedbox simulate --url http://127.0.0.1:8000/callbacks --api-port 8090[/bold].",
    )(simulate)
    app.command(
        rich_help_panel=PANEL, epilog="Example: [bold]deedbox worker --lane documents --processes 2[/bold]."
    )(worker)
    app.command(rich_help_panel=PANEL)(bridge)
    app.command(rich_help_panel=PANEL)(sweeper)
    app.command(rich_help_panel=PANEL)(ops)
    spool = typer.Typer(
        no_args_is_help=True,
        help="Callbacks that ingress kept on this host's disk while the broker was away.",
    )
    spool.command("status")(spool_status)
    spool.command("drain")(spool_drain)
    app.add_typer(spool, name="spool", rich_help_panel="Repair")


def up() -> None:
    """Run everything on this machine until Ctrl-C: web, bridge, workers, sweeper, and a Redis if none is named.

    What ends is started again. Settings: DEEDBOX_API_KEYS is the only one that is required; PORT (8000),
    DEEDBOX_ACTIONS and DEEDBOX_REDIS_URL are the next that matter.
    """
    from deedbox.ops.supervise.speaker import Speaker
    from deedbox.ops.supervise.up import up as run

    speaker = Speaker()
    try:
        code = run(os.environ, speaker.say)
    finally:
        speaker.close()
    raise typer.Exit(code)


def demo(
    *,
    requests: Annotated[int, typer.Option(min=1, max=5000, help="Signature requests to simulate.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Repeat the traffic of another run.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object; progress goes to stderr.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
) -> None:
    """Show the whole pipeline at work: no account, no Redis, no settings needed.

    Starts everything on free ports in var/demo (emptied first), plays Dropbox Sign with duplicates, disorder and
    forged signatures, and proves from what arrived that nothing was lost, doubled or out of order. Exit code 0
    only if all of it holds.
    """
    from deedbox.ops.demo.run import DemoOptions, run

    raise typer.Exit(run(DemoOptions(requests=requests, seed=seed, json=json, keep=keep), os.environ))


def simulate(  # noqa: PLR0913 - one parameter per option
    *,
    url: Annotated[
        str, typer.Option(help="Where the callbacks go, such as http://127.0.0.1:8000/callbacks.")
    ],
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="Signature requests to play.")] = 20,
    rate: Annotated[float, typer.Option(min=0.01, help="Callbacks per second.")] = 20.0,
    delay: Annotated[
        float, typer.Option(min=0, help="Mean delay in seconds of what comes out of order or twice.")
    ] = 2.0,
    seed: Annotated[int | None, typer.Option(help="Repeat the traffic of another run.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="Key that signs the callbacks; default: the first of DEEDBOX_API_KEYS."),
    ] = None,
    api_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Serve the files API on this port too; 0: a free one."),
    ] = None,
    stay: Annotated[
        float, typer.Option(min=0, help="Seconds to keep serving the files API after the last callback.")
    ] = 60.0,
    ladder_scale: Annotated[
        float,
        typer.Option(min=0, help="Factor on the vendor's waits between retries, which are 5 min to 20 h."),
    ] = 0.001,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Play Dropbox Sign against any ingress: multipart callbacks as the vendor sends them, retries included.

    A share of them is duplicated, delayed or forged. Exit code 0 only if every genuine callback was
    acknowledged and every forged one was not. The requests' ids begin with simulated_: the workers ask the real API
    for none of them. Their documents come from the files API of this command, --api-port.
    """
    from deedbox.ops.demo.simulate import SimulateOptions, run

    options = SimulateOptions(
        url=url,
        requests=requests,
        rate_per_s=rate,
        delay_s=delay,
        seed=seed,
        api_key=api_key,
        api_port=api_port,
        stay_s=stay,
        ladder_scale=ladder_scale,
        json=json,
    )
    raise typer.Exit(run(options, os.environ))


def worker(
    *,
    lane: Annotated[
        str, typer.Option(help="Lane whose work is done: sequencer, documents, default or your own.")
    ],
    processes: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
) -> None:
    """Run the workers of one lane."""
    if processes == 1:
        _become("worker", "--lane", lane)
    raise typer.Exit(_run_several(lane, processes))


def bridge() -> None:
    """Run the bridge: it moves callbacks from the broker into the inbox."""
    _become("bridge")


def sweeper() -> None:
    """Run the sweeper: it wakes what is due, such as retries and holds that are over."""
    _become("sweeper")


def ops() -> None:
    """Run the dashboard, the status API and the metrics, on OPS_PORT (8001) of the loopback address.

    Without DEEDBOX_OPS_TOKEN or DEEDBOX_OPS_TOKENS a token is made in ops/token of the data directory.
    """
    _become(module="deedbox.ops.web")


def spool_status(
    *, json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show how much waits on this host's disk, and since when."""
    _become("spool", *(["--json"] if json else []), module="deedbox.ingress")


def spool_drain(
    *, json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Publish what waits on this host's disk, oldest first, without the web process.

    Web processes do this by themselves; the command is for a host whose web process is gone. Safe beside them.
    """
    _become("drain", *(["--json"] if json else []), module="deedbox.ingress")


def _become(*arguments: str, module: str = "deedbox.workers") -> NoReturn:
    """Replace this process by the one that does it, so that signals and the pid are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell on purpose


def _run_several(lane: str, count: int) -> int:
    from deedbox.ops.supervise import processes, supervisor
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
        return supervisor.run([program], on_exit=lambda end: speaker.say(f"deedbox: {end}"))
    finally:
        speaker.close()
