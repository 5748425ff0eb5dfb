"""A module of actions, as DEEDBOX_ACTIONS names one."""

from __future__ import annotations

from deedbox import Context, Event, action


@action("signature_request_signed", name="first")
def bill(_event: Event, context: Context) -> None:
    context.emit("deedbox.billed", {"sum": 7})


@action("deedbox.billed", name="second")
def book(_event: Event, _context: Context) -> None:
    """Do nothing."""
