"""The command ``deedbox``.

Exit codes: 0 ok, 1 failed, 2 usage or settings, 130 interrupted. What a person can put right is one sentence on
stderr, never a traceback.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from deedbox.ops.cli import alert_test, audit, check, demo, processes, runbook, status, trace
from deedbox.ops.cli.develop import call, init, listen, send
from deedbox.ops.cli.repair import account, actions, conflict, dead, erase, pause, replay, spool
from deedbox.shared.core.errors import DeedboxError, RedisAway, SettingsError

FAILED = 1
USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    name="deedbox",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Settings come from the environment and from .env in the current directory. "
    "Start with [bold]deedbox demo[/bold]: it needs no account and no Redis.",
)


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        from importlib.metadata import version

        typer.echo(f"deedbox {version('deedbox')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Receive Dropbox Sign callbacks and turn them into a clean stream: verified, durable, once, in order."""


for _command in (
    *(demo, processes),
    *(init, send, call, listen),
    *(status, trace, runbook, audit, check, alert_test),
    *(pause, dead, actions, replay, account, conflict, erase, spool),
):
    _command.register(app)


def _unwrap(commands: typer.Typer) -> None:
    """Give each command the paragraphs of its docstring without our line breaks: the terminal has its own width."""
    for each in commands.registered_commands:
        paragraphs = inspect.cleandoc(each.callback.__doc__ or "").split("\n\n") if each.callback else []
        each.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _unwrap(group.typer_instance)


_unwrap(app)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        load_dotenv(Path(".env"))
        app()
    except SettingsError as error:
        _give_up(error, USAGE)
    except DeedboxError as error:
        _give_up(error, FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def load_dotenv(path: Path) -> None:
    """Add the settings of a ``.env`` file to the environment; what is set already wins. Raises SettingsError."""
    if not path.is_file():
        return
    import dotenv

    try:
        # Values as they are written: a $ in a key or a password is no reference to another variable.
        found = dotenv.dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read ({error}); correct the file or remove it.") from None
    for name, value in found.items():
        if value is not None:
            os.environ.setdefault(name, value)


def explained(error: DeedboxError, environ: Mapping[str, str]) -> str:
    """Return the sentence of an error. A Redis that does not answer is named here, for all commands."""
    if not isinstance(error, RedisAway):
        return str(error)
    from deedbox.ops.installation import Installation

    try:
        return Installation.load(environ).explained(error)
    except SettingsError:
        return str(error)


def _give_up(error: DeedboxError, code: int) -> None:
    sys.stderr.write(f"deedbox: {explained(error, os.environ)}\n")
    sys.exit(code)
