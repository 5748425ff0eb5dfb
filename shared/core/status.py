"""The read model of one signature request: where it stands, merged monotonically from events. Pure.

Late and repeated events never move it back; closed states absorb. It holds no names and no addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_P: Final = "signature_request_"

STATES: Final = (
    "unknown",
    "prepared",
    "sent",
    "viewed",
    "partly_signed",
    "all_signed",
    "downloadable",
    "declined",
    "canceled",
    "expired",
    "invalid",
    "error",
    "destroyed",
)
"""In the order in which they absorb: a request never goes back to an earlier one."""

_STATE_OF: Final[Mapping[str, str]] = {
    _P + "prepared": "prepared",
    _P + "sent": "sent",
    _P + "viewed": "viewed",
    _P + "signed": "partly_signed",
    _P + "all_signed": "all_signed",
    _P + "declined": "declined",
    _P + "canceled": "canceled",
    _P + "expired": "expired",
    _P + "invalid": "invalid",
    _P + "destroyed": "destroyed",
    "file_error": "error",
    "unknown_error": "error",
}

_SIGNER_STATES: Final = ("awaiting_signature", "viewed", "signed", "declined", "removed")

_FACTS: Final = ("title", "test_mode", "created_at", "expires_at")
"""What is taken over as it is."""


def state_of(event_type: str, payload: Mapping[str, Any]) -> str:
    """Return the state that an event shows. ``downloadable`` counts only for a complete request."""
    if event_type == _P + "downloadable":
        request = payload.get("signature_request")
        complete = isinstance(request, dict) and request.get("is_complete") is True
        return "downloadable" if complete else "unknown"
    return _STATE_OF.get(event_type, "unknown")


def advance(
    model: Mapping[str, Any], event_type: str, event_time: int, payload: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge one event into the read model. The order of the calls does not matter for states."""
    before = model.get("state", "unknown")
    state = max(before, state_of(event_type, payload), key=STATES.index)
    request = payload.get("signature_request")
    request = request if isinstance(request, dict) else {}
    newer = event_time >= model.get("updated_at", 0)
    merged = dict(model)
    merged["state"] = state
    merged["updated_at"] = max(event_time, model.get("updated_at", 0))
    merged["ready_to_sign"] = bool(model.get("ready_to_sign")) or event_type == _P + "sent"
    merged["signers"] = _merge_signers(model.get("signers", {}), request)
    if newer or "title" not in merged:
        for name in _FACTS:
            if name in request:
                merged[name] = request[name]
    return merged


def state_shown(request: Mapping[str, Any]) -> str:
    """Return the state that a ``signature_request`` of the API proves. It may be further: a cancel leaves no trace."""
    if request.get("has_error") is True:
        return "error"
    if request.get("is_declined") is True:
        return "declined"
    if request.get("is_complete") is True:
        return "all_signed"
    signers = {_signer_state(row) for row in _rows(request)}
    if "signed" in signers:
        return "partly_signed"
    if "viewed" in signers:
        return "viewed"
    # A signer who is asked to sign was sent something; before that the vendor has another status.
    awaited = any(row.get("status_code") == "awaiting_signature" for row in _rows(request))
    return "sent" if awaited else "unknown"


def signers_shown(request: Mapping[str, Any]) -> dict[str, str]:
    """Return where each signer stands in a ``signature_request`` of the API, by signature id."""
    return {row["signature_id"]: _signer_state(row) for row in _rows(request)}


def last_change(request: Mapping[str, Any]) -> int:
    """Return the latest time (unix seconds) at which a ``signature_request`` of the API shows anything happened."""
    names = ("signed_at", "last_viewed_at", "last_reminded_at")
    times = [request.get("created_at"), *(row.get(name) for row in _rows(request) for name in names)]
    return max((at for at in times if isinstance(at, int) and not isinstance(at, bool)), default=0)


def catch_up(model: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the read model up to what the API shows. Monotone like ``advance``.

    A signer whom the API shows no more was removed or replaced by another signature.
    """
    merged = dict(model)
    known = model.get("state", "unknown")
    merged["state"] = max(known, state_shown(request), key=STATES.index)
    merged["updated_at"] = max(last_change(request), model.get("updated_at", 0))
    merged["ready_to_sign"] = bool(model.get("ready_to_sign")) or state_shown(request) != "unknown"
    signers = _merge_signers(model.get("signers", {}), request)
    shown = signers_shown(request)
    merged["signers"] = {name: place if name in shown else "removed" for name, place in signers.items()}
    for name in _FACTS:
        if name in request:
            merged[name] = request[name]
    return merged


def _merge_signers(known: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for row in _rows(request):
        signer = row["signature_id"]
        merged[signer] = max(
            merged.get(signer, _SIGNER_STATES[0]), _signer_state(row), key=_SIGNER_STATES.index
        )
    return merged


def _rows(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    rows = request.get("signatures")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("signature_id"), str):
            yield row


def _signer_state(row: Mapping[str, Any]) -> str:
    # The times decide, not status_code: published examples say "signed" even for viewed events.
    if row.get("signed_at"):
        return "signed"
    if row.get("status_code") == "declined":
        return "declined"
    return "viewed" if row.get("last_viewed_at") else _SIGNER_STATES[0]
