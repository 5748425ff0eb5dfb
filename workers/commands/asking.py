"""The question that a worker's command asks before it changes something."""

from __future__ import annotations

import sys

from deedbox.shared.core.errors import SettingsError


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on stderr, unless ``yes``. Raises SettingsError without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("There is no terminal to ask on; add --yes, or look first with --dry-run.")
    from rich.console import Console
    from rich.prompt import Confirm

    return Confirm.ask(question, console=Console(stderr=True), default=False)
