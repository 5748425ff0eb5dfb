"""Gaps: what callbacks should have reported about a signature request and did not. Pure.

Two questions, each with its own answer: does what is known here look as if something were missing (``suspected``,
costs nothing), and what is missing compared with what the API shows (``found``, costs a call)?
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from deedbox.shared.core.ordering import SequenceState
from deedbox.shared.core.request_snapshot import last_change, signers_shown
from deedbox.shared.core.status import COMPLETE, ENDED, STATES, awaits_confirmation, state_shown

SUSPECTED: Final = "deedbox.gap_suspected"
RECONCILED: Final = "deedbox.reconciled"
"""Types of internal events: request a check, and report what it found and repaired."""

SIGNED: Final = "signature_request_signed"
ALL_SIGNED: Final = "signature_request_all_signed"


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
    return Findings(tuple(gaps)) | _missed(known, (n for n, place in shown.items() if place == "signed"))


_OVER: Final = ENDED - {"error"}
"""States in which the API gives no document, whatever a list that lags behind shows."""


def concerns(known: Known, request: Mapping[str, Any], since: float) -> bool:
    """Return whether a request belongs to an outage that began at ``since`` (unix seconds).

    One that is known here does, whenever it changed. One that is not may have been forgotten here after its time.
    """
    return known.anything or last_change(request) >= since


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
