"""What commands ask before they change something."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import typer

from ops.deadletters import Selection
from shared.core.errors import SettingsError


def selection(ids: Iterable[str], reason: str | None, action: str, *, every: bool) -> Selection:
    """Build the selection of a command that changes something: it must be said which letters.

    Raises SettingsError for none or a contradiction.
    """
    chosen = tuple(dict.fromkeys(ids))
    filtered = bool(reason or action)
    if not (chosen or filtered or every):
        raise SettingsError("Say which dead letters: their ids, --reason, --action or --all.")
    if chosen and (filtered or every):
        raise SettingsError("Give either ids, or --reason, --action and --all; not both.")
    return Selection(chosen, reason or "", action)


def confirm(question: str, *, yes: bool) -> bool:
    """Ask, unless ``yes``. Raises SettingsError where nobody can answer."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal to ask on; add --yes, or look first with --dry-run.")
    return typer.confirm(question)
