"""The commands ``demo`` and ``simulate``: a simulated Dropbox Sign, with and without the whole pipeline."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deedbox.ops.cli._options import RUN


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        rich_help_panel=RUN,
        epilog="Example: [bold]deedbox demo --requests 200 --keep[/bold], then in another terminal "
        "[bold]DEEDBOX_DATA_DIR=var/demo deedbox status[/bold].",
    )(demo)
    app.command(
        rich_help_panel=RUN,
        epilog="Example: [bold]DEEDBOX_API_URL=http://127.0.0.1:8090/v3 deedbox up[/bold], then in another terminal "
        "[bold]deedbox simulate --url http://127.0.0.1:8000/callbacks --api-port 8090[/bold].",
    )(simulate)


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

    It starts everything on free ports in var/demo (emptied first). It plays Dropbox Sign with duplicates, disorder and
    forged signatures. From what arrived it proves that nothing was lost, doubled or out of order. Exit code 0
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
        float,
        typer.Option(min=0, help="Mean delay in seconds of callbacks that arrive out of order or twice."),
    ] = 2.0,
    seed: Annotated[int | None, typer.Option(help="Repeat the traffic of another run.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="API key that signs the callbacks; default: the first of DEEDBOX_API_KEYS."),
    ] = None,
    api_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Serve the files API on this port too; 0: a free one."),
    ] = None,
    stay: Annotated[
        float, typer.Option(min=0, help="Seconds for which the files API is served after the last callback.")
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
