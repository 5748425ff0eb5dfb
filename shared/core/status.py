"""The read model of one signature request: its state, merged from events and answers of the API. Pure.

Three laws hold for any events, in any order. A state never goes back. Of each fact and of each signer, the newest
callback that names it counts, so that an empty one (``signature_request_canceled`` has been reported without a title
and with ``created_at`` 0) replaces nothing. And no two fields contradict each other, because what can be derived is.
The model holds no names and no addresses, and its size has a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deedbox.shared.core.ordering import DEFAULT_RANK, RANKS
from deedbox.shared.core.request_snapshot import (
    PLACES,
    TIME_MAX,
    facts_of,
    flag_of,
    last_change,
    request_of,
    signers_shown,
)

_P: Final = "signature_request_"

STATES: Final = (
    "unknown",
    "prepared",
    "sent",
    "viewed",
    "partly_signed",
    "error",
    "all_signed",
    "downloadable",
    "declined",
    "canceled",
    "expired",
    "invalid",
    "destroyed",
)
"""In the order in which they absorb: a request never goes back to an earlier one. An error comes before ``all_signed``,
because a request that everybody has signed all the same has got over it."""

COMPLETE: Final = frozenset({"all_signed", "downloadable"})
"""Everybody has signed: the final document exists."""

ENDED: Final = frozenset({"declined", "canceled", "expired", "invalid", "error", "destroyed"})
"""It ended otherwise: no more is to come."""

SIGNABLE: Final = frozenset({"sent", "viewed", "partly_signed"})

SIGNERS_MAX: Final = 500
"""Signers that are kept, those of the newest callbacks: a request of the vendor's has some dozens."""

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

_API_RANK: Final = 1 + max(RANKS.values())
"""What the API shows was read after every callback of its second."""

_Place = list[int]
"""Time (unix seconds) and causal rank of the callback that something was taken from. How far that callback is trusted
will be a third element."""


def state_of(event_type: str, payload: Mapping[str, Any]) -> str:
    """Return the state that an event shows. ``downloadable`` counts only for a complete request."""
    if event_type == _P + "downloadable":
        return "downloadable" if flag_of(request_of(payload).get("is_complete")) else "unknown"
    return _STATE_OF.get(event_type, "unknown")


def advance(
    model: Mapping[str, Any], event_type: str, event_time: int, payload: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge one event into the read model. The order of the calls does not matter."""
    request = request_of(payload)
    at = min(max(event_time, 0), TIME_MAX)
    state = _further(state_of(event_type, payload), _signed_so_far(request))
    return _merged(model, state, [at, RANKS.get(event_type, DEFAULT_RANK)], request)


def state_shown(request: Mapping[str, Any]) -> str:
    """Return the state that a ``signature_request`` of the API proves. It may be further: a cancel leaves no trace."""
    if flag_of(request.get("has_error")):
        return "error"
    if flag_of(request.get("is_declined")):
        return "declined"
    if flag_of(request.get("is_complete")):
        return "all_signed"
    # A signer who is asked to sign was sent something; before that the vendor has another status.
    rows = request.get("signatures")
    awaited = any(
        isinstance(row, dict) and row.get("status_code") == "awaiting_signature"
        for row in (rows if isinstance(rows, list) else [])
    )
    return _further(_signed_so_far(request), "sent" if awaited else "unknown")


def catch_up(model: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the read model up to what the API shows now, which is newer than every callback so far."""
    places = [*model.get("rows", {}).values(), *model.get("known_at", {}).values()]
    latest = max([last_change(request), *(place[0] for place in places)])
    merged = _merged(model, state_shown(request), [latest, _API_RANK], request)
    merged["updated_at"] = max(last_change(request), model.get("updated_at", 0))
    return merged


def _signed_so_far(request: Mapping[str, Any]) -> str:
    places = set(signers_shown(request).values())
    return "partly_signed" if "signed" in places else "viewed" if "viewed" in places else "unknown"


def _further(*states: str) -> str:
    return max(states, key=STATES.index)


def _merged(
    model: Mapping[str, Any], state: str, place: _Place, request: Mapping[str, Any]
) -> dict[str, Any]:
    state = _further(model.get("state", "unknown"), state)
    rows = _rows_merged(model.get("rows", {}), place, signers_shown(request))
    newest = max((row[:2] for row in rows.values()), default=place)
    return {
        **_facts_merged(model, place, facts_of(request)),
        "state": state,
        "ready_to_sign": state in SIGNABLE,
        "updated_at": max(place[0], model.get("updated_at", 0)),
        "rows": rows,
        # A signer whom the newest list lacks was removed, or replaced: another address makes another signature id.
        "signers": {name: row[2] if row[:2] == newest else "removed" for name, row in rows.items()},
    }


def _facts_merged(model: Mapping[str, Any], place: _Place, facts: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(model)
    known_at = dict(model.get("known_at", {}))
    for name, value in facts.items():
        # Of two callbacks at one place the greater value counts, so that their order does not matter.
        if name not in known_at or (place, value) > (known_at[name], merged[name]):
            merged[name], known_at[name] = value, place
    return {**merged, "known_at": known_at}


def _rows_merged(
    rows: Mapping[str, list[Any]], place: _Place, shown: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Note for every signer the newest list that names it, and how far it got in any."""
    merged = dict(rows)
    for name, signer_place in shown.items():
        known = merged.get(name, [*place, PLACES[0]])
        merged[name] = [*max(place, known[:2]), max(known[2], signer_place, key=PLACES.index)]
    if len(merged) <= SIGNERS_MAX:
        return merged
    kept = sorted(merged.items(), key=lambda item: (item[1][:2], item[0]))[-SIGNERS_MAX:]
    return dict(kept)
