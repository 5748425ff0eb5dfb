"""One callback of any type, as Dropbox Sign would send it: for tests of actions, and for ``deedbox send``.

Pure: the same arguments give the same bytes. The snapshot fits to the type: a request of which ``signed`` tells was viewed
before, and one of which ``all_signed`` tells is complete. The first signer is the one that an event is about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from deedbox.shared.core.identity import PER_SIGNER_TYPES
from deedbox.shared.core.values import value
from deedbox.shared.simulator import story
from deedbox.shared.simulator.lifecycle import Account, event_document
from deedbox.shared.simulator.snapshot import SimulatedSigner, unsigned_document
from deedbox.shared.simulator.wire import php_json

CREATED_BEFORE_S: Final = 60
VIEWED_BEFORE_S: Final = 30
"""How long before its event a request was created, and viewed."""

_ABOUT_ONE: Final = PER_SIGNER_TYPES | {story.DECLINED, "sign_url_invalid"}
_VIEWED: Final = frozenset({story.VIEWED, story.SIGNED, story.DECLINED, story.ALL_SIGNED, story.DOWNLOADABLE})
_COMPLETE: Final = frozenset({story.ALL_SIGNED, story.DOWNLOADABLE})


@value
class CallbackWish:
    """Which callback to make."""

    event_type: str
    event_time: int
    """Unix seconds."""
    subject_id: str
    """Of the request, template, account or fax."""
    api_key: str
    signers: int = 1
    metadata: Mapping[str, Any] | None = None
    changes: Mapping[str, Any] | None = None
    """Fields of the subject, which replace what the type would show."""


def json_text(wish: CallbackWish) -> bytes:
    """Return the text of the field ``json``."""
    name, subject = _subject(wish)
    about = _signature_id(wish, 0) if name == "signature_request" and wish.event_type in _ABOUT_ONE else None
    account = Account(wish.api_key)
    document: dict[str, Any] = {
        "event": event_document(wish.event_type, wish.event_time, about, account),
        "account_guid": account.account_id,
        "client_id": None,
    }
    if name:
        metadata = {} if wish.metadata is None else {"metadata": dict(wish.metadata)}
        document[name] = {**subject, **metadata, **(wish.changes or {})}
    return php_json(document)


def _subject(wish: CallbackWish) -> tuple[str, dict[str, Any]]:
    kind = wish.event_type.partition("_")[0]
    if wish.event_type == "callback_test":
        return "", {}
    if kind == "template":
        return "template", _template(wish)
    if kind == "account":
        return "account", {
            "account_id": wish.subject_id,
            "email_address": "requester@example.com",
            "is_locked": False,
        }
    if kind == "fax":
        return "transmission", _fax(wish)
    return "signature_request", _request(wish)


def _request(wish: CallbackWish) -> dict[str, Any]:
    created_at = wish.event_time - CREATED_BEFORE_S
    document = unsigned_document(wish.subject_id, "Purchase Agreement", created_at, "requester@example.com")
    signers = [_signer(wish, number) for number in range(wish.signers)]
    return document | {
        "is_complete": wish.event_type in _COMPLETE,
        "is_declined": wish.event_type == story.DECLINED,
        "signatures": [each.row() for each in signers],
        "response_data": [each.response() for each in signers if each.signed_at is not None],
    }


def _signer(wish: CallbackWish, number: int) -> SimulatedSigner:
    at, kind = wish.event_time, wish.event_type
    signer = SimulatedSigner(
        _signature_id(wish, number), f"Signer {number + 1}", f"signer{number + 1}@example.com", None
    )
    if number and kind not in _COMPLETE:
        return signer
    if kind in _VIEWED:
        signer.note(story.VIEWED, at if kind == story.VIEWED else at - VIEWED_BEFORE_S)
    if kind in _COMPLETE:
        signer.note(story.SIGNED, at - VIEWED_BEFORE_S)
    signer.note(kind, at)
    return signer


def _signature_id(wish: CallbackWish, number: int) -> str:
    return hashlib.sha256(f"{wish.subject_id}/{number}".encode()).hexdigest()[:32]


def _template(wish: CallbackWish) -> dict[str, Any]:
    return {
        "template_id": wish.subject_id,
        "title": "Purchase Agreement",
        "message": "",
        "updated_at": wish.event_time,
        "is_embedded": False,
        "is_creator": True,
        "can_edit": True,
        "is_locked": False,
        "metadata": {},
        "signer_roles": [{"name": f"Signer {number + 1}", "order": number} for number in range(wish.signers)],
        "cc_roles": [],
        "documents": [],
        "accounts": [],
    }


def _fax(wish: CallbackWish) -> dict[str, Any]:
    return {
        "signature_request_id": "",
        "title": "Purchase Agreement",
        "original_title": "Purchase Agreement",
        "subject": None,
        "message": None,
        "metadata": {},
        "created_at": wish.event_time - CREATED_BEFORE_S,
        "transmissions": [],
        "files_url": f"https://api.hellosign.com/v3/fax/files/{wish.subject_id}",
        "final_copy_uri": f"/v3/fax/final_copy/{wish.subject_id}",
    }
