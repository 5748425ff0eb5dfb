"""The ``signature_request`` document of a callback: its signers' rows and its fields, as the vendor orders them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from deedbox.shared.simulator import story
from deedbox.shared.simulator.story import LifecyclePolicy

_NAMES: Final = (
    "Ada Marsh",
    "Ben O'Connor",
    "Žofie Nováková",
    "José Peña/Ruiz",
    "Søren Kjær",
    "山田 太郎",
    'Mae "Sunny" Lee',
    "Ana 🖋 Costa",
)
"""Beyond ASCII, beyond the basic plane, with quotes and slashes: what the JSON text must survive."""

DECLINE_REASON: Final = "The date in section 2/3 is wrong — please resend"


@dataclass(slots=True)
class SimulatedSigner:
    """A signer's row of the snapshot, while the story is told."""

    signature_id: str
    name: str
    email_address: str
    order: int | None
    status_code: str = "awaiting_signature"
    signed_at: int | None = None
    last_viewed_at: int | None = None
    last_reminded_at: int | None = None
    decline_reason: str | None = None

    def note(self, event_type: str, at: int) -> None:
        """Record what the signer did, at a time in unix seconds."""
        if event_type == story.VIEWED:
            self.last_viewed_at = at
        elif event_type == story.REMIND:
            self.last_reminded_at = at
        elif event_type == story.SIGNED:
            self.status_code, self.signed_at = "signed", at
        elif event_type == story.DECLINED:
            self.status_code, self.decline_reason = "declined", DECLINE_REASON

    def row(self) -> dict[str, Any]:
        """Return the entry of ``signatures``."""
        return {
            "signature_id": self.signature_id,
            "has_pin": False,
            "has_sms_auth": False,
            "has_sms_delivery": False,
            "sms_phone_number": None,
            "signer_email_address": self.email_address,
            "signer_name": self.name,
            "signer_role": None,
            "order": self.order,
            "status_code": self.status_code,
            "signed_at": self.signed_at,
            "last_viewed_at": self.last_viewed_at,
            "last_reminded_at": self.last_reminded_at,
            "decline_reason": self.decline_reason,
            "error": None,
        }

    def response(self) -> dict[str, Any]:
        """Return the one form field that a signer fills in."""
        return {
            "api_id": self.signature_id[:16] + "_1",
            "signature_id": self.signature_id,
            "name": "Full name",
            "required": True,
            "type": "text",
            "value": self.name,
        }


def draw_signers(rng: random.Random, policy: LifecyclePolicy, *, sequential: bool) -> list[SimulatedSigner]:
    """Draw ``signers_min`` to ``signers_max`` signers; sequential ones carry their place as ``order``."""
    count = rng.randint(policy.signers_min, policy.signers_max)
    return [
        SimulatedSigner(
            signature_id=f"{rng.getrandbits(128):032x}",
            name=rng.choice(_NAMES),
            email_address=f"signer{number}@example.com",
            order=number if sequential else None,
        )
        for number in range(count)
    ]


def unsigned_document(request_id: str, title: str, created_at: int, requester: str) -> dict[str, Any]:
    """Return the fields of ``signature_request`` in their order; the snapshot overwrites those that change."""
    return {
        "signature_request_id": request_id,
        "test_mode": False,
        "title": title,
        "original_title": title,
        "subject": f"{title}: your signature",
        "message": "Please sign at your convenience.\nThank you!",
        "metadata": {},
        "created_at": created_at,
        "expires_at": None,
        "is_complete": False,
        "is_declined": False,
        "has_error": False,
        "custom_fields": [],
        "response_data": [],
        "signing_url": f"https://app.hellosign.com/sign/{request_id}",
        "signing_redirect_url": None,
        "final_copy_uri": f"/v3/signature_request/final_copy/{request_id}",
        "files_url": f"https://api.hellosign.com/v3/signature_request/files/{request_id}",
        "details_url": f"https://app.hellosign.com/home/manage?guid={request_id}",
        "requester_email_address": requester,
        "signatures": [],
        "cc_email_addresses": [],
        "template_ids": None,
        "client_id": None,
    }
