"""The actions of the pictures: some work, some meet what a real system meets."""

from __future__ import annotations

import zlib

from deedbox.workers.actions import Context, Event, Reject, action


def _chance(event: Event) -> int:
    return zlib.crc32(event.ordering_key.encode()) % 100


@action("signature_request_*", name="crm.update", lane="crm")
def update(event: Event, _context: Context) -> None:
    """Know most customers."""
    if event.type == "signature_request_viewed" and _chance(event) < 20:
        raise Reject(f"no customer has the number {_chance(event) + 4700}")


@action(
    "signature_request_signed",
    "signature_request_all_signed",
    name="billing.invoice",
    lane="billing",
    attempts=1,
)
def invoice(event: Event, _context: Context) -> None:
    """Trip over a missing field, and over a service that is away."""
    if _chance(event) in range(30, 42):
        raise KeyError("order_id")
    if _chance(event) in range(60, 66):
        raise ConnectionError(f"billing.internal:8443 refused the connection ({_chance(event)})")


@action("signature_request_sent", name="mail.welcome", lane="mail")
@action("signature_request_declined", name="mail.declined", lane="mail")
def mail(_event: Event, _context: Context) -> None:
    """Send nothing."""
