"""The check that imports the modules of DEEDBOX_ACTIONS, as the workers do, in another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deedbox.ops.checks.finding import Finding, ok, unusable
from deedbox.ops.supervise.processes import described
from deedbox.ops.wording.output import counted
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings


def check(environ: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """Import the modules and list what they declare; a time limit ends an import that hangs."""
    try:
        found = described(environ)
    except SettingsError as error:
        yield unusable("actions", str(error))
        return
    modules = ", ".join(settings.actions) or "no module of your own"
    count = len(found["actions"])
    lanes = ", ".join(map(str, found["lanes"]))
    yield ok("actions", f"{modules}: {counted(count, 'action')} with the built-in ones, in the lanes {lanes}")
