"""The ordering rule a second time: slow, from the design's words, with everything recomputed from history.

Nothing here shares code with the rule under test. It remembers every event and derives what was seen, what is
open and what waits from the whole story at each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

PREFIX: Final = "signature_request_"
SENT: Final = PREFIX + "sent"
VIEWED: Final = PREFIX + "viewed"
SIGNED: Final = PREFIX + "signed"
ALL_SIGNED: Final = PREFIX + "all_signed"
DOWNLOADABLE: Final = PREFIX + "downloadable"

CAUSES_FIRST: Final = (
    "prepared < sent < reassigned, remind, email_bounce, signer_removed < viewed < signed"
    " < declined, canceled, expired, invalid, file_error, unknown_error, sign_url_invalid"
    " < all_signed < downloadable < destroyed"
)
"""The design's sentence; types that it does not list stand where ``viewed`` stands."""

BARE: Final = ("file_error", "unknown_error", "sign_url_invalid")
FOUR_DAYS_S: Final = 4 * 24 * 60 * 60

Place = tuple[int, int, str, str]
Claim = tuple[str, str, int]


def rank_of(event_type: str) -> int:
    """Find a type's rank by reading the sentence."""
    name = event_type if event_type in BARE else event_type.removeprefix(PREFIX)
    known = event_type in BARE or (event_type == PREFIX + name and name not in BARE)
    steps = [[word.strip() for word in step.split(",")] for step in CAUSES_FIRST.split("<")]
    found = [number for number, words in enumerate(steps) if known and name in words]
    return found[0] if found else rank_of(VIEWED)


@dataclass(frozen=True)
class Event:
    """An event as its sender knows it."""

    type: str
    time: int
    fingerprint: str
    related: str | None = None
    request: Any = None
    """The snapshot: the callback's ``signature_request``, or None."""

    @property
    def place(self) -> Place:
        """Its position."""
        return (self.time, rank_of(self.type), self.related or "", self.fingerprint)

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The signers that its snapshot shows."""
        return list(self.request["signatures"]) if isinstance(self.request, dict) else []

    @property
    def names_its_signer(self) -> bool:
        """Whether it tells which signer it is about, and its snapshot knows that signer."""
        return self.related is not None and self.related in [row["signature_id"] for row in self.rows]

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def is_time(value: object) -> bool:
    """Tell whether a field of a snapshot holds unix seconds."""
    return type(value) is int and value >= 0


def claims(event: Event) -> list[Claim]:
    """List the predecessors that an event's own snapshot proves, and that count."""
    if not isinstance(event.request, dict):
        return []
    shown: list[Claim] = []
    if is_time(event.request["created_at"]):
        shown.append((SENT, "", event.request["created_at"]))
    for row in event.rows:
        for column, kind in (("last_viewed_at", VIEWED), ("signed_at", SIGNED)):
            if is_time(row[column]):
                shown.append((kind, row["signature_id"], row[column]))
    signed = [time for kind, _, time in shown if kind == SIGNED]
    if event.request["is_complete"] and signed:
        shown.append((ALL_SIGNED, "", max(signed)))
    return [claim for claim in shown if _counts(claim, event)]


def _counts(claim: Claim, event: Event) -> bool:
    kind, signature, time = claim
    before = (time, rank_of(kind), signature) < event.place[:3]
    return before and event.time - time <= FOUR_DAYS_S


def witnesses(event: Event, claim: Claim) -> bool:
    """Tell whether an event is, for certain, the one that a claim is about."""
    kind, signature, _ = claim
    if event.type != kind:
        return False
    return kind in {SENT, ALL_SIGNED} or (event.names_its_signer and event.related == signature)


@dataclass
class Outcome:
    """What one step did."""

    released: list[tuple[str, bool]]
    """Fingerprint, and whether late."""
    duplicates: list[str]
    given_up: list[tuple[str, str]]
    wake_at: float | None


@dataclass
class Reference:
    """One ordering key's whole history."""

    hold_s: float
    settle_s: float
    arrived: list[Event] = field(default_factory=list)
    held: dict[Event, float] = field(default_factory=dict)
    released: list[Event] = field(default_factory=list)
    """Without the late ones."""
    given_up: dict[tuple[str, str], int] = field(default_factory=dict)
    """Claims that events were released without, each with the time of the first of these events."""
    found_again: set[tuple[str, str]] = field(default_factory=set)
    """Of these, the ones whose events came afterwards."""

    def is_over(self, claim: Claim, event: Event) -> bool:
        """Tell whether an event would wait for a given-up claim in vain.

        It would not if it is the first of a later second than the claim's event can be of: then that event, if it
        comes, may still be released before anything that happened later.
        """
        kind, signature, time = claim
        if (kind, signature) not in self.given_up:
            return False
        latest = time if kind in {VIEWED, SIGNED} else self.given_up[kind, signature]
        first_later = event.time > latest and all(other.time <= latest for other in self.released)
        return (kind, signature) in self.found_again or not first_later

    def find_again(self, event: Event) -> None:
        """Take note that what was given up has come; an unknown signer's event stands for any one signer's."""
        lost = sorted(claim for claim in self.given_up if claim not in self.found_again)
        if event.type in {VIEWED, SIGNED} and not event.names_its_signer:
            self.found_again.update([claim for claim in lost if claim[0] == event.type][:1])
        else:
            self.found_again.update(claim for claim in lost if witnesses(event, (*claim, event.time)))

    def missing(self, event: Event) -> list[Claim]:
        """List what an event waits for: claims without a witness, less one for each unknown signer."""
        lacking: list[Claim] = []
        for kind in (SENT, VIEWED, SIGNED, ALL_SIGNED):
            unwitnessed = [
                claim
                for claim in claims(event)
                if claim[0] == kind
                and not self.is_over(claim, event)
                and not any(witnesses(other, claim) for other in self.arrived)
            ]
            lacking += unwitnessed[self.strangers(kind) :]
        return lacking

    def strangers(self, kind: str) -> int:
        """Count the arrivals of a type that do not tell whose they are."""
        if kind in {SENT, ALL_SIGNED}:
            return 0
        return sum(event.type == kind and not event.names_its_signer for event in self.arrived)

    def ready_at(self) -> float:
        """Tell when the smallest held event may go if nothing arrives."""
        first = min(self.held, key=lambda event: event.place)
        patience = max(self.hold_s, self.settle_s)
        times = [since + patience for since in self.held.values()]
        if not self.missing(first):
            times.append(self.held[first] + self.settle_s)
        return min(times)

    def step(self, arrivals: Sequence[tuple[Event, float]], now: float) -> Outcome:
        """Let events arrive, then release what is ready."""
        outcome = Outcome([], [], [], None)
        greatest = max((event.place for event in self.released), default=None)
        for event, since in arrivals:
            if event in self.arrived:
                outcome.duplicates.append(event.fingerprint)
                continue
            self.arrived.append(event)
            self.find_again(event)
            if greatest is not None and event.place < greatest:
                outcome.released.append((event.fingerprint, True))
            else:
                self.held[event] = since
        while self.held and now >= self.ready_at():
            first = min(self.held, key=lambda event: event.place)
            gaps = [claim[:2] for claim in self.missing(first)]
            outcome.given_up += gaps
            for gap in gaps:
                self.given_up.setdefault(gap, first.time)
            outcome.released.append((first.fingerprint, False))
            self.released.append(first)
            del self.held[first]
        outcome.wake_at = self.ready_at() if self.held else None
        return outcome


def in_order(events: Iterable[Event]) -> list[Event]:
    """Sort events by position."""
    return sorted(events, key=lambda event: event.place)
