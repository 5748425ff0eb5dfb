"""Which events a pattern of types means, and which unit of work an (event, action) belongs to. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

INTERNAL_PREFIX: Final = "deedbox."
"""Types that begin so are emitted by Deedbox itself, such as ``deedbox.document_stored``."""

NO_SUBJECT: Final = "type/"
"""Ordering keys that begin so name no subject, only the type of an event in which no id was found."""

EventName = Literal[
    "signature_request_prepared", "signature_request_sent", "signature_request_viewed", "signature_request_signed",
    "signature_request_all_signed", "signature_request_downloadable", "signature_request_declined",
    "signature_request_reassigned", "signature_request_remind", "signature_request_canceled", "signature_request_expired",
    "signature_request_email_bounce", "signature_request_invalid", "signature_request_signer_removed",
    "signature_request_incomplete_qes", "signature_request_destroyed",
    "fax_received", "fax_sent", "fax_on_hold", "fax_busy", "fax_no_answer", "fax_disconnected", "fax_blacklisted",
    "file_error", "unknown_error", "sign_url_invalid", "template_created", "template_error", "account_confirmed",
    "callback_test", "deedbox.document_stored", "deedbox.reconciled", "deedbox.gap_suspected",
]  # fmt: skip
"""The published names, spelled out: editors suggest them where an event type is written."""

KNOWN_TYPES: Final[frozenset[str]] = frozenset(get_args(EventName))
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
