"""The no-op action that Deedbox runs in the measurements (``DEEDBOX_ACTIONS=tests.bench.actions``)."""

from __future__ import annotations

from tests.bench.probe import called
from workers.actions import Context, Event, action


@action("*", name="noop")
def noop(event: Event, _context: Context) -> None:
    """Do nothing."""
    called(event.payload)
