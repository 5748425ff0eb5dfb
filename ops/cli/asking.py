"""What commands ask before they change something."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

import typer

from deedbox.ops.repair.deadletters import Selection
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.routing import is_pattern


def selection(ids: Iterable[str], filters: Selection, *, every: bool) -> Selection:
    """Build the selection of a command that changes something: it must be said which letters.

    Raises SettingsError for none or a contradiction.
    """
    chosen = tuple(dict.fromkeys(ids))
    if not (chosen or filters.narrow or every):
        raise SettingsError(
            "Say which dead letters: their ids, a filter such as --reason or --since, or --all."
        )
    if chosen and (filters.narrow or every):
        raise SettingsError("Give either ids, or filters and --all; not both.")
    return replace(filters, ids=chosen)


def checked_pattern(text: str) -> str:
    """Check a pattern of event types; an empty one stays empty. Raises SettingsError."""
    if text and not is_pattern(text):
        raise SettingsError("--type is no event type; give one, or a prefix such as 'signature_request_*'.")
    return text


def demand_decision(*, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Refuse to ask a question in the middle of JSON. Raises SettingsError."""
    if as_json and not (dry_run or yes):
        raise SettingsError("With --json nobody is asked; add --yes, or look first with --dry-run.")


def confirm(question: str, *, yes: bool) -> bool:
    """Ask, unless ``yes``. Raises SettingsError where nobody can answer."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal to ask on; add --yes, or look first with --dry-run.")
    return typer.confirm(question)
