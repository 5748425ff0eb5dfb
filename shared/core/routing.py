"""Which events a pattern of types means, and which unit of work an (event, action) belongs to. Pure."""

from __future__ import annotations

import re
from typing import Final

INTERNAL_PREFIX: Final = "deedbox."
"""Types that begin so are emitted by Deedbox itself, such as ``deedbox.document_stored``."""

NO_SUBJECT: Final = "type/"
"""Ordering keys that begin so name no subject, only the type of an event in which no id was found."""

_REQUEST: Final = (
    "prepared", "sent", "viewed", "signed", "all_signed", "downloadable", "declined", "reassigned", "remind", "canceled",
    "expired", "email_bounce", "invalid", "signer_removed", "incomplete_qes", "destroyed",
)  # fmt: skip
_FAX: Final = ("received", "sent", "on_hold", "busy", "no_answer", "disconnected", "blacklisted")
KNOWN_TYPES: Final = frozenset({
    *(f"signature_request_{name}" for name in _REQUEST), *(f"fax_{name}" for name in _FAX),
    "file_error", "unknown_error", "sign_url_invalid", "template_created", "template_error", "account_confirmed",
    "callback_test", "deedbox.document_stored", "deedbox.reconciled", "deedbox.gap_suspected",
})  # fmt: skip
"""What Dropbox Sign publishes (``docs/protocol.md``) and what Deedbox emits for actions. For hints only: an unknown type
is stored, counted and dispatched like any other."""

_PATTERN: Final = re.compile(r"\*|[A-Za-z0-9_.-]+\*?", re.ASCII)


def is_pattern(text: str) -> bool:
    """Return whether a text is an exact type, a prefix such as ``signature_request_*``, or ``*``."""
    return _PATTERN.fullmatch(text) is not None


def matches(pattern: str, event_type: str) -> bool:
    """Return whether a type fits a pattern. ``*`` means every Dropbox Sign event and leaves internal ones out."""
    if pattern == "*":
        return not event_type.startswith(INTERNAL_PREFIX)
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern


def unit_of(action: str, stream: str, fingerprint: str, *, ordered: bool) -> str:
    """Name the unit of work, whose entries run one after the other: per key, or per event if unordered.

    Events without a subject share a key by their type only: no order of theirs matters, to any action.
    """
    if ordered and not stream.partition(":")[2].startswith(NO_SUBJECT):
        return f"{action}|{stream}"
    return f"{action}|{stream}|{fingerprint}"
