"""Callbacks as Dropbox Sign sends them, built for the tests of the core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from deedbox.shared.core.callback import ParsedCallback, parse_callback
from deedbox.shared.core.identity import Fact, identify

KEY: Final = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
"""The test key that the vendor publishes with its callback fixtures."""

OLD_KEY: Final = "4e94adf59d17c417ce0d1d2cb34b953ba7a1eebe1ecbe31bb1c586af92af1e1d"

REQUEST_ID: Final = "fa5c8a0b0f492d768749333ad6fcc214c111e967"

Document = dict[str, Any]


def signer(signature_id: str, **more: object) -> Document:
    """Return a row of ``signatures``."""
    return {
        "signature_id": signature_id,
        "signer_name": "Ada Marsh",
        "signer_email_address": "ada@example.com",
        "status_code": "awaiting_signature",
        "signed_at": None,
        "last_viewed_at": None,
        "last_reminded_at": None,
        **more,
    }


def document(
    event_type: str = "signature_request_viewed",
    event_time: object = "1700000100",
    related: str | None = "s1",
    request: Mapping[str, Any] | None = None,
    **more: Any,
) -> Document:
    """Return a callback's JSON document."""
    body: Document = {
        "signature_request_id": REQUEST_ID,
        "title": "Purchase agreement",
        "created_at": 1_700_000_000,
        "is_complete": False,
        "client_id": None,
        "signatures": [signer("s1"), signer("s2")],
    }
    return {
        "event": {
            "event_type": event_type,
            "event_time": event_time,
            "event_hash": "0" * 64,
            "event_metadata": {
                "related_signature_id": related,
                "reported_for_account_id": "63522885f9261e2b04eea043933ee7313eb674fd",
                "reported_for_app_id": None,
                "event_message": None,
            },
        },
        "account_guid": "63522885f9261e2b04eea043933ee7313eb674fd",
        "signature_request": body | dict(request or {}),
        **more,
    }


def parsed(body: Mapping[str, Any]) -> ParsedCallback:
    """Parse a document as the sequencer does."""
    return parse_callback(json.dumps(body).encode())


def fact(body: Mapping[str, Any], source: str = "default", redrive: str = "") -> Fact:
    """Identify a document."""
    return identify(source, parsed(body), redrive)


FAX: Document = {
    "event": {"event_type": "fax_received", "event_time": "1738001529", "event_hash": "0" * 64},
    "transmission": {
        "signature_request_id": "",
        "files_url": "https://api.hellosign.com/v3/fax/files/9c2c7e8c2ed1839f75a9a0227ce2954b1d7c3407",
        "final_copy_uri": "/v3/transmission/final_copy/9c2c7e8c2ed1839f75a9a0227ce2954b1d7c3407",
    },
}
TEST: Document = {
    "event": {"event_type": "callback_test", "event_time": "1700000100", "event_hash": "0" * 64}
}


def with_request_id(identifier: object) -> Document:
    return document(request={"signature_request_id": identifier})
