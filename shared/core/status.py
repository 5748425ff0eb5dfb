"""The read model of one signature request: its state, merged from events and answers of the API. Pure.

Three laws hold for any events, in any order. Within one level of trust a state never goes back. What a higher level shows
replaces what lower ones claimed up to then, also backwards; what is claimed to have happened later is shown with its own
level. And of each fact the newest callback that names it counts, so that an empty one (``signature_request_canceled`` has
been reported without a title and with ``created_at`` 0) replaces nothing. The model holds no names and no addresses, and
its size has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deedbox.shared.core.request_snapshot import (
    PLACES,
    TIME_MAX,
    facts_of,
    flag_of,
    last_change,
    request_of,
    signers_shown,
)
from deedbox.shared.core.routing import DEFAULT_RANK, RANKS
from deedbox.shared.core.signature import Trust

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
"""Signers that are kept of each level, those of the newest callbacks: a request of the vendor's has some dozens."""

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

_UNSEEN: Final = frozenset({"prepared", "sent", "canceled", "invalid", "destroyed"})
"""What the API does not show, and so does not deny where the vendor has signed it."""

_HIGHEST_FIRST: Final = tuple((level, level.word) for level in sorted(Trust, reverse=True))

_API_RANK: Final = 1 + max(RANKS.values())
"""What the API shows was read after every callback of its second."""

_Place = list[int]
"""Time (unix seconds) and causal rank of the callback, or the reading, that something was taken from."""

_Layer = Mapping[str, Any]
"""What one level of trust shows: ``states``, state -> newest place; ``rows``, signature id -> how far -> newest place;
``facts``, name -> [time, rank, value]; ``changed_at``, unix seconds."""


def state_of(event_type: str, payload: Mapping[str, Any]) -> str:
    """Return the state that an event shows. ``downloadable`` counts only for a complete request."""
    if event_type == _P + "downloadable":
        return "downloadable" if flag_of(request_of(payload).get("is_complete")) else "unknown"
    return _STATE_OF.get(event_type, "unknown")


def advance(
    model: Mapping[str, Any],
    event_type: str,
    event_time: int,
    payload: Mapping[str, Any],
    trust: Trust = Trust.CLAIMED,
) -> dict[str, Any]:
    """Merge one event into the read model. The order of the calls does not matter."""
    request = request_of(payload)
    at = min(max(event_time, 0), TIME_MAX)
    state = _further(state_of(event_type, payload), _signed_so_far(request))
    return _merged(model, trust, state, [at, RANKS.get(event_type, DEFAULT_RANK)], request, at)


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
    named = [
        row.get("status_code") for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict)
    ]
    if "expired" in named:
        return "expired"
    return _further(_signed_so_far(request), "sent" if "awaiting_signature" in named else "unknown")


def catch_up(model: Mapping[str, Any], request: Mapping[str, Any], asked_at: float) -> dict[str, Any]:
    """Merge what the API shows. It replaces all that callbacks claimed up to ``asked_at`` (unix seconds)."""
    at = min(max(int(asked_at), 0), TIME_MAX)
    changed_at = min(last_change(request), TIME_MAX)
    return _merged(model, Trust.CONFIRMED, state_shown(request), [at, _API_RANK], request, changed_at)


def gone(model: Mapping[str, Any], asked_at: float, *, deleted: bool) -> dict[str, Any]:
    """Note that the API does not show the request. ``deleted``: it says so, which confirms a claimed cancel."""
    claimed = str(model.get("state", "unknown"))
    at = min(max(int(asked_at), 0), TIME_MAX)
    if deleted and claimed in {"canceled", "destroyed"}:
        model = _merged(model, Trust.CONFIRMED, claimed, [at, _API_RANK], {}, 0)
    return {**model, "asked_at": max(at, model.get("asked_at", 0))}


def awaits_confirmation(model: Mapping[str, Any]) -> bool:
    """Return whether a look-up could make an answer of what is only claimed so far."""
    state, level = str(model.get("state", "unknown")), model.get("trust", {}).get("state")
    if level is None or model.get("asked_at", -1) >= model.get("updated_at", 0):
        return False
    if state in COMPLETE:
        return not model.get("complete")
    return state in SIGNABLE | ENDED and Trust.named(level) < Trust.ATTESTED


def is_contradicted(model: Mapping[str, Any]) -> bool:
    """Return whether the API denies that everybody has signed, which some callback has reported."""
    over = model.get("complete") or model.get("state") in ENDED
    return was_confirmed(model) and says_complete(model) and not over


def was_confirmed(model: Mapping[str, Any]) -> bool:
    """Return whether the API has ever shown the request."""
    return Trust.CONFIRMED.word in model.get("levels", {})


def vindicates(model: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether the API shows for the first time just what a body with a wrong header has said."""
    levels = model.get("levels", {})
    layer, confirmed = levels.get(Trust.DISPUTED.word), levels.get(Trust.CONFIRMED.word)
    if layer is None:
        return False
    read_before = confirmed is not None and max(confirmed["states"].values()) >= max(layer["states"].values())
    said, shown = {name: fact[2] for name, fact in layer["facts"].items()}, facts_of(request)
    state = _further(*layer["states"])
    return (
        not read_before
        and "created_at" in said
        and said.items() <= shown.items()
        and 0 < STATES.index(state) <= STATES.index(state_shown(request))
    )


def says_complete(model: Mapping[str, Any]) -> bool:
    """Return whether anything, of whatever level, has reported that everybody has signed."""
    return any(not COMPLETE.isdisjoint(layer["states"]) for layer in model.get("levels", {}).values())


def _signed_so_far(request: Mapping[str, Any]) -> str:
    places = set(signers_shown(request).values())
    return "partly_signed" if "signed" in places else "viewed" if "viewed" in places else "unknown"


def _further(*states: str) -> str:
    return max(states, key=STATES.index)


def _merged(
    model: Mapping[str, Any], trust: Trust, state: str, place: _Place, request: Mapping[str, Any], changed_at: int
) -> dict[str, Any]:  # fmt: skip
    levels = dict(model.get("levels", {}))
    layer = levels.get(trust.word, {"states": {}, "rows": {}, "facts": {}, "changed_at": 0})
    levels[trust.word] = {
        "states": {**layer["states"], state: max(place, layer["states"].get(state, place))},
        "rows": _rows_merged(layer["rows"], place, signers_shown(request)),
        "facts": _facts_merged(layer["facts"], place, facts_of(request)),
        "changed_at": max(changed_at, layer["changed_at"]),
    }
    kept = {name: model[name] for name in ("signature_request_id", "reconciled", "asked_at") if name in model}
    return {**kept, "levels": levels, **_shown(levels)}


def _facts_merged(
    known: Mapping[str, list[Any]], place: _Place, facts: Mapping[str, Any]
) -> dict[str, list[Any]]:
    # Of two callbacks at one place the greater value counts, so that their order does not matter.
    news = {name: [*place, value] for name, value in facts.items()}
    return {**known, **{name: max(found, known.get(name, found)) for name, found in news.items()}}


def _rows_merged(
    rows: Mapping[str, Mapping[str, _Place]], place: _Place, shown: Mapping[str, str]
) -> dict[str, Mapping[str, _Place]]:
    """Note for every signer the newest list that shows how far it got."""
    merged = dict(rows)
    for name, how_far in shown.items():
        known = merged.get(name, {})
        merged[name] = {**known, how_far: max(place, known.get(how_far, place))}
    if len(merged) <= SIGNERS_MAX:
        return merged
    return dict(sorted(merged.items(), key=lambda item: (max(item[1].values()), item[0]))[-SIGNERS_MAX:])


def _layers(levels: Mapping[str, _Layer], at_least: Trust) -> Iterator[tuple[Trust, _Layer, _Place]]:
    """Yield each level from the highest, and the place up to which higher ones have replaced what it shows."""
    cut = [-1, -1]
    for level, word in _HIGHEST_FIRST:
        layer = levels.get(word)
        if level < at_least or layer is None:
            continue
        yield level, layer, cut
        cut = max(cut, *layer["states"].values())


def _state_at(levels: Mapping[str, _Layer], at_least: Trust) -> tuple[str, Trust]:
    """Return the furthest state that no higher level has replaced, and its level."""
    found = [
        (STATES.index(state), level)
        for level, layer, cut in _layers(levels, at_least)
        for state, place in layer["states"].items()
        if place > cut or (level is Trust.ATTESTED and state in _UNSEEN)
    ]
    number, level = max(found, default=(0, at_least))
    # The API has no such state; where it shows that everybody has signed, it does not deny this one.
    downloadable = level >= Trust.ATTESTED and STATES[number] == "all_signed" and any(
        "downloadable" in layer["states"] for _, layer, _ in _layers(levels, at_least)
    )  # fmt: skip
    return "downloadable" if downloadable else STATES[number], level


def _shown(levels: Mapping[str, _Layer]) -> dict[str, Any]:
    """Derive what readers see."""
    state, level = _state_at(levels, Trust.DISPUTED)
    vouched, _ = _state_at(levels, Trust.ATTESTED)
    confirmed, _ = _state_at(levels, Trust.CONFIRMED)
    signers, signers_level = _signers(levels)
    facts = {name: (level, found[2]) for level, layer, _ in reversed([*_layers(levels, Trust.DISPUTED)])
             for name, found in layer["facts"].items()}  # fmt: skip
    trust = {name: level.word for name, (level, _) in facts.items()}
    return {
        **{name: value for name, (_, value) in facts.items()},
        "state": state,
        "vouched": vouched,
        "ready_to_sign": vouched in SIGNABLE,
        "complete": confirmed in COMPLETE and vouched not in ENDED,
        "closed": vouched in ENDED,
        "signers": signers,
        "updated_at": max(layer["changed_at"] for layer in levels.values()),
        "trust": {"state": level.word, **({"signers": signers_level.word} if signers else {}), **trust},
    }


def _signers(levels: Mapping[str, _Layer]) -> tuple[dict[str, str], Trust]:
    """Return how far each signer got, and the level of the newest list."""
    rows: dict[str, list[tuple[_Place, str]]] = {}
    newest, newest_level = [-1, -1], Trust.DISPUTED
    for level, layer, cut in _layers(levels, Trust.DISPUTED):
        for name, shown in layer["rows"].items():
            kept = [(place, how_far) for how_far, place in shown.items() if place > cut]
            if kept or level >= Trust.ATTESTED:
                rows.setdefault(name, []).extend(kept)
            if kept and max(kept)[0] > newest:
                newest, newest_level = max(kept)[0], level
    # A signer whom the newest list lacks was removed, or replaced: another address makes another signature id.
    return {
        name: max((how_far for _, how_far in shown), key=PLACES.index)
        if shown and max(place for place, _ in shown) == newest
        else "removed"
        for name, shown in rows.items()
    }, newest_level
