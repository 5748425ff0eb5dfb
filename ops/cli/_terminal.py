"""What commands do with their terminal and their process: ask, show progress, become another program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from deedbox.ops.repair.progress import Tell
from deedbox.shared.core.errors import SettingsError

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.shared.audit.audit_log import AuditLog


def become(*arguments: str, module: str = "deedbox.workers") -> NoReturn:
    """Replace this process by the one that does it, so that signals and the pid are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell on purpose


def auditing(installation: Installation) -> AuditLog:
    """Return where the operations of the person at this terminal are recorded."""
    from deedbox.shared.audit.audit_log import AuditLog, operator

    return AuditLog(lambda: installation.scripts, operator())


def demand_decision(*, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Refuse to ask a question in the middle of JSON. Raises SettingsError."""
    if as_json and not (dry_run or yes):
        raise SettingsError("With --json no question is asked; add --yes, or look first with --dry-run.")


def confirm(question: str, *, yes: bool) -> bool:
    """Ask, unless ``yes``. Raises SettingsError without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal to ask on; add --yes, or look first with --dry-run.")
    return typer.confirm(question)


@contextmanager
def progress() -> Iterator[Tell]:
    """Lend a function that moves the bar of its work; the bars are on stderr and vanish at the end.

    Without a terminal, and for what is over at once, nothing is shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=min(done, total), total=total)

        yield tell
