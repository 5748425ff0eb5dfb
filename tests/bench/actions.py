"""The no-op action that Deedbox runs in the measurements (``DEEDBOX_ACTIONS=tests.bench.actions``)."""

from __future__ import annotations

from deedbox.workers.actions import Context, Event, action
from tests.bench.probe import called


@action("*", name="noop")
def noop(event: Event, _context: Context) -> None:
    """Do nothing."""
    called(event.payload)
