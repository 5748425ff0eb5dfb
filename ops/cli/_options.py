"""Options and arguments that several commands take, each declared once."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_type_hints

import typer

from deedbox.ops.wording.times import SYNTAX
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.reasons import DeathReason
from deedbox.shared.core.routing import is_pattern

if TYPE_CHECKING:
    from deedbox.ops.installation import Installation
    from deedbox.ops.repair.deadletters import Selection

# Imports inside the commands: they cost what `deedbox worker` and the others do not need.

RUN: Final = "Run"
LOOK: Final = "Look"
REPAIR: Final = "Repair"
DEVELOP: Final = "Develop"
"""Headings of ``deedbox --help``."""

EXAMPLE_ID: Final = "fa5c8a0b0f492d768749333ad6fcc214c111e967"
EXAMPLE_ACTION: Final = "myapp.callbacks.update_crm"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Source = Annotated[str, typer.Option(metavar="NAME", help="The tenant, as in /callbacks/<source>.")]
RequestId = Annotated[
    str, typer.Argument(metavar="ID", help="A signature_request_id, or a key such as template/c26b8a16.")
]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters a command is about; an empty filter matches every letter."""

    reason: Annotated[DeathReason | None, typer.Option(help="Only letters with this reason.")] = None
    action: Annotated[
        str, typer.Option(metavar="NAME", help="Only letters of this action, such as " + EXAMPLE_ACTION + ".")
    ] = ""
    event_type: Annotated[
        str,
        typer.Option(
            "--type", metavar="TYPE", help="Only letters about this event type, or a prefix with *."
        ),
    ] = ""
    source: Annotated[str, typer.Option(metavar="NAME", help="Only letters of this tenant.")] = ""
    key: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Only letters of this signature request, or of a key such as template/…"
        ),
    ] = ""
    error: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Only letters with this kind of error, such as KeyError, as `redrive --dry-run` shows it.",
        ),
    ] = ""
    since: Annotated[
        str, typer.Option(metavar="TIME", help=f"Only letters that were set aside since then: {SYNTAX}.")
    ] = ""
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Only letters that were set aside before then; written the same way."
        ),
    ] = ""

    def selection(self, installation: Installation) -> Selection:
        """Return what the filters mean, without ids. Raises SettingsError for one that means nothing."""
        from deedbox.ops.readmodels.timeline import key_of
        from deedbox.ops.repair.deadletters import Selection
        from deedbox.ops.wording.times import span

        since, until = 0.0, math.inf
        if self.since or self.until:
            since, end = span(self.since, self.until, installation.now())
            until = end if self.until else math.inf
        return Selection(
            reason=self.reason or "",
            action=self.action,
            pattern=checked_pattern(self.event_type),
            source=self.source,
            key=key_of(self.key),
            error=self.error,
            since=since,
            until=until,
        )


Command = TypeVar("Command", bound=Callable[..., None])


def filtered(command: Command) -> Command:
    """Give a command the options of ``Filters``; it gets them as one value, its parameter ``filters``."""
    hints = get_type_hints(Filters, include_extras=True)
    declared = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
        )
        for each in fields(Filters)
    ]

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        values = {each.name: options.pop(each.name) for each in declared}
        command(*arguments, **options, filters=Filters(**values))

    own = [
        each
        for each in inspect.signature(command, eval_str=True).parameters.values()
        if each.name != "filters"
    ]
    positional = [each for each in own if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    parameters = [*positional, *declared, *(each for each in own if each not in positional)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run  # type: ignore[return-value]  # of the same use, with other options


def checked_pattern(text: str) -> str:
    """Check a pattern of event types; an empty one stays empty. Raises SettingsError."""
    if text and not is_pattern(text):
        raise SettingsError(
            "--type is not a valid event type; give one, or a prefix such as 'signature_request_*'."
        )
    return text
