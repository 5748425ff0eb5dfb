"""What a worker's command does before it changes something: it asks, and it records who did it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deedbox.shared.audit import AuditedOperation
from deedbox.shared.audit.audit_log import AuditLog, OperationTally, operator
from deedbox.shared.command_options import CommandOptions
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.sources import Source

if TYPE_CHECKING:
    from deedbox.workers.process import Process


@contextmanager
def audited(
    process: Process, options: CommandOptions, name: AuditedOperation, **asked: Any
) -> Iterator[OperationTally]:
    """Record what is done meanwhile, unless the process that asked for it does."""
    if options.recorded:
        yield OperationTally()
        return
    with AuditLog(lambda: process.scripts, operator()).operation(
        name, source=options.source, **asked
    ) as tally:
        yield tally


def demand_source(sources: Mapping[str, Source], name: str) -> Source:
    """Return the source of that name. Raises SettingsError."""
    if name not in sources:
        raise SettingsError(f"There is no source {name}; --source is one of {', '.join(sorted(sources))}.")
    return sources[name]


def say(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(line + "\n")


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on stderr, unless ``yes``. Raises SettingsError without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal to ask on; add --yes, or look first with --dry-run.")
    from rich.console import Console
    from rich.prompt import Confirm

    return Confirm.ask(question, console=Console(stderr=True), default=False)
