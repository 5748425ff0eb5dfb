"""A ``signature_request`` as a callback or the API shows it: any JSON in, bounded values out. Pure and total.

``event_hash`` does not sign a body, and an answer of the API may be of next year: nothing here raises, whatever the
types are, and what is taken over has a bound.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

TITLE_MAX_CHARS: Final = 300
"""Longest title that is kept: the vendor's form takes 255."""

TIME_MAX: Final = 253_402_300_799
"""Last second (unix) of the year 9999: no calendar shows a later one."""

PLACES: Final = ("awaiting_signature", "viewed", "signed", "declined")
"""How far a signer got, in the order in which they absorb."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


def request_of(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``signature_request`` of a callback; empty if it has none."""
    request = payload.get("signature_request")
    return request if isinstance(request, dict) else {}


def rows_of(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield signature id and row of every signer that can be named."""
    rows = request.get("signatures")
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        signature_id = row.get("signature_id")
        if isinstance(signature_id, str) and _ID.fullmatch(signature_id) is not None:
            yield signature_id, row


def place_of(row: Mapping[str, Any]) -> str:
    """Return how far a signer got."""
    # The times decide, not status_code: published examples say "signed" even for viewed events.
    if row.get("signed_at"):
        return "signed"
    if row.get("status_code") == "declined":
        return "declined"
    return "viewed" if row.get("last_viewed_at") else PLACES[0]


def signers_shown(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the state of each signer, by signature id."""
    return {signature_id: place_of(row) for signature_id, row in rows_of(request)}


def time_of(value: object) -> int | None:
    """Return a time (unix seconds) that a calendar can show; None for anything else, and for 0, which means none."""
    if isinstance(value, str) and _DIGITS.fullmatch(value) is not None:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= TIME_MAX else None


def title_of(value: object) -> str | None:
    """Return a title, bounded; None for an empty one. Half characters become ``?``: no page can be encoded with one."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value[:TITLE_MAX_CHARS].encode("utf-8", "replace").decode()


def flag_of(value: object) -> bool | None:
    """Return a flag; the vendor's JSON has had 1 and "1" for true. None for anything else."""
    if isinstance(value, int | str) and value in {1, "1"}:
        return True
    return False if isinstance(value, int | str) and value in {0, "0"} else None


def facts_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the request itself. What is empty, or of another type, is left out."""
    facts = {
        "title": title_of(request.get("title")),
        "test_mode": flag_of(request.get("test_mode")),
        "created_at": time_of(request.get("created_at")),
        "expires_at": time_of(request.get("expires_at")),
    }
    return {name: value for name, value in facts.items() if value is not None}


TERMS_MAX: Final = 100
"""By how many signature ids and pairs of metadata one request is found."""

METADATA_MAX: Final = 10
"""Pairs of metadata that a request may have at the vendor's."""

TERM_MAX_CHARS: Final = 1000


def terms_of(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return by what a request can be looked up: pairs of a name and a value."""
    metadata = request.get("metadata")
    pairs = list(metadata.items())[:METADATA_MAX] if isinstance(metadata, dict) else []
    named = [
        (f"metadata.{name}", str(value))
        for name, value in pairs
        if isinstance(value, str | int) and len(str(value)) <= TERM_MAX_CHARS and len(name) <= TERM_MAX_CHARS
    ]
    return [*named, *(("signature_id", signature) for signature, _ in rows_of(request))][:TERMS_MAX]


def term(source: str, name: str, value: str) -> str:
    """Return the name of a look-up's key: a digest, so that it is bounded and does not show the value."""
    text = f"{source}\0{name}\0{value}".encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def state_term(source: str, model: Mapping[str, Any]) -> str:
    """Return the term of a read model's state."""
    return term(source, "state", str(model.get("state", "unknown")))


def last_change(request: Mapping[str, Any]) -> int:
    """Return the latest time (unix seconds) at which anything happened."""
    names = ("signed_at", "last_viewed_at", "last_reminded_at")
    times = [request.get("created_at"), *(row.get(name) for _, row in rows_of(request) for name in names)]
    return max((at for at in map(time_of, times) if at is not None), default=0)
