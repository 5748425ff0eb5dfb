"""Gaps: what callbacks should have reported about a signature request and did not. Pure.

Three questions:

* ``suspected``: does something seem to be missing here? Costs nothing.
* ``found``: what is missing here, compared with the API? Costs a call.
* ``lost``: which events does the API prove although no callback came?
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from deedbox.shared.core.ordering import SequenceState
from deedbox.shared.core.request_snapshot import last_change, rows_of, signers_shown, time_of
from deedbox.shared.core.status import (
    COMPLETE,
    ENDED,
    STATES,
    awaits_confirmation,
    state_shown,
    was_confirmed,
)

SUSPECTED: Final = "deedbox.gap_suspected"
RECONCILED: Final = "deedbox.reconciled"
"""Types of internal events: request a check, and report what it found and repaired."""

_P: Final = "signature_request_"
SENT: Final = _P + "sent"
VIEWED: Final = _P + "viewed"
SIGNED: Final = _P + "signed"
ALL_SIGNED: Final = _P + "all_signed"
DOWNLOADABLE: Final = _P + "downloadable"
DECLINED: Final = _P + "declined"
EXPIRED: Final = _P + "expired"

FRESH_S: Final = 120.0
"""A change younger than this (seconds) may have callbacks on their way, held or being worked on."""


class Gap(StrEnum):
    """What is missing. The slugs are part of the event ``deedbox.reconciled``."""

    NEVER_SEEN = "never_seen"
    """No callback of the request has been seen."""
    BEHIND = "behind"
    """The API shows a later state, of the request or of a signer."""
    NO_DOCUMENT = "no_document"
    """The request is complete, and no document is stored."""
    FEWER_SIGNED = "fewer_signed"
    """More signers have signed than ``signed`` callbacks came."""
    PREDECESSOR_GIVEN_UP = "predecessor_given_up"
    """An event was released without a predecessor that its snapshot proves, and that one has not come since."""
    NO_DOWNLOADABLE = "no_downloadable"
    """The document is stored, and no ``downloadable`` came; found only where it would be synthesised."""
    UNCONFIRMED = "unconfirmed"
    """Nothing need be missing: callbacks claim what only the API can make an answer. It is read, and nothing is reported."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known here about one request."""

    model: Mapping[str, Any] = field(default_factory=dict)
    """The read model (``deedbox.shared.core.status``); empty if there is none."""
    order: SequenceState | None = None
    """The ordering rule's state; None if no callback was seen, or too long ago."""
    has_document: bool = False
    """Whether a document is stored, or none can be had."""
    fetches: bool = True
    """Whether this deployment stores documents at all."""
    synthesises: bool = False
    """Whether this deployment synthesises the events of lost callbacks."""

    @property
    def anything(self) -> bool:
        """Whether the request was ever heard of."""
        return bool(self.model) or self.order is not None or self.has_document


@dataclass(frozen=True, slots=True)
class Findings:
    """The gaps of one request, and the callbacks that are missing by name: ``type|signature``."""

    gaps: tuple[Gap, ...] = ()
    missed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.gaps)

    def dump(self) -> dict[str, list[str]]:
        """Return JSON values; ``load`` is the inverse."""
        return {"gaps": [str(gap) for gap in self.gaps], "missed": list(self.missed)}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild from what ``dump`` returned; values that are not findings are left out."""
        gaps, missed = _texts(document.get("gaps")), _texts(document.get("missed"))
        return cls(tuple(gap for gap in Gap if gap in gaps), missed)

    def without(self, gap: Gap) -> Findings:
        """Leave one gap out."""
        return Findings(tuple(each for each in self.gaps if each is not gap), self.missed)

    def __or__(self, other: Findings) -> Findings:
        gaps = {*self.gaps, *other.gaps}
        return Findings(
            tuple(gap for gap in Gap if gap in gaps), tuple(sorted({*self.missed, *other.missed}))
        )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def suspected(known: Known) -> Findings:
    """Return what seems to be missing, without asking the API. Gaps that were reconciled before are not found again."""
    state = known.model.get("state", "unknown")
    # Without `track_status` the order state alone tells: an all_signed that came, or that a snapshot proved.
    signed_by_all = known.order is not None and f"{ALL_SIGNED}|" in known.order.satisfied
    complete = state in COMPLETE or (signed_by_all and state not in _OVER)
    places = known.model.get("signers", {})
    waits = state in COMPLETE and any(
        place not in {"signed", "declined", "removed"} for place in places.values()
    )
    gaps = [Gap.NO_DOCUMENT] if complete and known.fetches and not known.has_document else []
    if waits:
        gaps.append(Gap.FEWER_SIGNED)
    if complete and _has_no_downloadable(known):
        gaps.append(Gap.NO_DOWNLOADABLE)
    if awaits_confirmation(known.model):
        gaps.append(Gap.UNCONFIRMED)
    signed = (name for name, place in places.items() if place == "signed")
    return Findings(tuple(gaps)) | _missed(known, signed)


def found(known: Known, request: Mapping[str, Any]) -> Findings:
    """Return what is missing here, compared with the API's ``signature_request`` document."""
    shown = signers_shown(request)
    gaps = []
    if not known.anything:
        gaps.append(Gap.NEVER_SEEN)
    elif known.model and _is_behind(known.model, request, shown):
        gaps.append(Gap.BEHIND)
    complete = state_shown(request) == "all_signed" and known.model.get("state", "unknown") not in _OVER
    if complete and known.fetches and not known.has_document:
        gaps.append(Gap.NO_DOCUMENT)
    if complete and _has_no_downloadable(known):
        gaps.append(Gap.NO_DOWNLOADABLE)
    return Findings(tuple(gaps)) | _missed(known, (n for n, place in shown.items() if place == "signed"))


_OVER: Final = ENDED - {"error"}
"""States in which the API gives no document, whatever a list that lags behind shows."""


def concerns(known: Known, request: Mapping[str, Any], since: float) -> bool:
    """Return whether a request belongs to an outage that began at ``since`` (unix seconds).

    One that is known here does, whenever it changed. One that is not may have been forgotten here after its time.
    """
    return known.anything or last_change(request) >= since


def _has_no_downloadable(known: Known) -> bool:
    """Return whether a document is stored of which no callback told. One that the API keeps from us is never stored."""
    came = known.order.came if known.order else frozenset()
    return (
        known.synthesises
        and known.has_document
        and was_confirmed(known.model)
        and _name(DOWNLOADABLE, "") not in came
    )


def _is_behind(model: Mapping[str, Any], request: Mapping[str, Any], shown: Mapping[str, str]) -> bool:
    if STATES.index(state_shown(request)) > STATES.index(model.get("state", "unknown")):
        return True
    places = model.get("signers", {})
    return any(
        _FURTHER.get(place, 0) > _FURTHER.get(places.get(name, ""), 0) for name, place in shown.items()
    )


_FURTHER: Final[Mapping[str, int]] = {"viewed": 1, "signed": 2, "declined": 2, "removed": 2}


def _missed(known: Known, signed: Iterable[str]) -> Findings:
    """List callbacks that did not come: given up, or a signature that no ``signed`` told of."""
    if known.order is None:
        return Findings()
    told = set(known.model.get("reconciled", {}).get("told", ()))
    given_up = known.order.given_up.keys() - told
    silent = {f"{SIGNED}|{name}" for name in signed} - known.order.satisfied - told
    # A callback whose signer was unknown told of one of them.
    if len(silent) <= known.order.wildcards.get(SIGNED, 0):
        silent = set()
    gaps = []
    if silent or any(name.startswith(f"{SIGNED}|") for name in given_up):
        gaps.append(Gap.FEWER_SIGNED)
    if given_up:
        gaps.append(Gap.PREDECESSOR_GIVEN_UP)
    return Findings(tuple(gaps), tuple(sorted(given_up | silent)))


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """An event that the API shows to have happened, once."""

    type: str
    time: int
    """Unix seconds: what the API shows; where it shows none, the last change before it."""
    signature: str = ""
    message: str | None = None

    @property
    def name(self) -> str:
        """What the ordering rule remembers of it, once it came."""
        return _name(self.type, self.signature)


def _name(event_type: str, signature: str) -> str:
    return f"{event_type}|{signature if event_type in {VIEWED, SIGNED} else ''}"


def proven(request: Mapping[str, Any], *, has_document: bool) -> Iterator[ProvenEvent]:
    """Yield the events that the API's ``signature_request`` document proves, each once.

    It proves no cancel (it shows nothing of it), no kind of error, and of reminders and views only the last one.
    ``has_document``: the final document was fetched, which nothing in the document shows.
    """
    shown, created = state_shown(request), time_of(request.get("created_at"))
    if created is not None and shown not in {"unknown", "error"}:
        yield ProvenEvent(SENT, created)
    signed_times = []
    for signature, row in rows_of(request):
        viewed, signed = time_of(row.get("last_viewed_at")), time_of(row.get("signed_at"))
        if viewed is not None:
            yield ProvenEvent(VIEWED, viewed, signature)
        if signed is not None:
            signed_times.append(signed)
            yield ProvenEvent(SIGNED, signed, signature)
    if shown == "all_signed" and signed_times:
        yield ProvenEvent(ALL_SIGNED, max(signed_times))
        if has_document:
            yield ProvenEvent(DOWNLOADABLE, max(signed_times))
    elif shown == "declined":
        yield from _decline(request)
    elif shown == "expired" and (expires := time_of(request.get("expires_at"))) is not None:
        yield ProvenEvent(EXPIRED, expires)


def _decline(request: Mapping[str, Any]) -> Iterator[ProvenEvent]:
    for signature, row in rows_of(request):
        if row.get("status_code") == "declined":
            reason = row.get("decline_reason")
            message = reason if isinstance(reason, str) else None
            yield ProvenEvent(DECLINED, last_change(request), signature, message)
            return


def lost(
    known: Known, request: Mapping[str, Any], now: float, remembered_s: float, *, has_document: bool
) -> tuple[ProvenEvent, ...]:
    """List, in order of time, what the API proves to have happened and of which no callback came.

    ``remembered_s``: what is older may have come and be forgotten. What is too fresh may be on its way. A callback that did
    not name its signer may be that of any signer: of its type nothing is listed.
    """
    order = known.order or SequenceState()
    came = order.came
    return tuple(
        sorted(
            (
                each
                for each in proven(request, has_document=has_document)
                if FRESH_S <= now - each.time < remembered_s
                and each.name not in came
                and not order.wildcards.get(each.type)
            ),
            key=lambda each: each.time,
        )
    )
