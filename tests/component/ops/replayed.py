"""Actions as a user's module has them: the command learns them from it, the lanes of the test run them."""

from __future__ import annotations

from deedbox.workers.actions.interface import Context, Event, action
from tests.component.workers.rig import Journal

crm = Journal()
stored = Journal()
loose = Journal()


@action("signature_request_*", name="crm", lane="crm")
def _crm(event: Event, context: Context) -> None:
    crm(event, context)
    if event.type.endswith("viewed"):
        context.emit("deedbox.document_stored", {"sha256": "0" * 64})


@action("deedbox.document_stored", name="stored")
def _stored(event: Event, context: Context) -> None:
    stored(event, context)


@action("*", name="loose", ordered=False)
def _loose(event: Event, context: Context) -> None:
    loose(event, context)


JOURNALS = (crm, stored, loose)
