"""Conditions that no event reports: dead letters, refused signatures, a callback URL about to be dropped. Pure.

Each observation is compared with the one before. A change becomes facts; the end of a condition becomes a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final, Self

from deedbox.shared.alerts.alerting import AlertFact, Kind, Message
from deedbox.shared.core.fields import named, natural, number, words

DANGER_FROM: Final = 5
"""Half of the failures in a row after which Dropbox Sign removes the callback URL: an endpoint that works has none, and the
other half leaves time to act."""

BURST: Final = 3
BURST_S: Final = 300.0
"""So many wrong signatures within so long: one is a scanner, three may be a key that was changed."""

REMIND_S: Final = 6 * 3600.0
"""A condition that stays is reported again: perhaps the first message was not read."""


@dataclass(frozen=True, slots=True)
class LetterNotice:
    """A dead letter, as far as an alert needs it."""

    number: int
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What is so now."""

    dead: int = 0
    """Dead letters there are."""
    last_letter: int = 0
    """Number of the last letter that was ever written."""
    letters: Sequence[LetterNotice] = ()
    """Those written since the last look; those about alerts left out."""
    more: int = 0
    """Further ones, too many to read."""
    since_letter: int = 0
    """Number of the letter after which those were looked for."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Source -> refusals in a row."""
    wrong_signatures: Mapping[str, int] = field(default_factory=dict)
    """Source -> callbacks refused for their signature, ever."""
    spools: Mapping[str, str] = field(default_factory=dict)
    """Host whose spool is out of reach -> why."""


@dataclass(frozen=True, slots=True)
class AlertWatch:
    """What was so at the last look."""

    last_letter: int = 0
    wrong: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Source -> wrong signatures, and since when they are compared with that number (unix seconds)."""
    on: Mapping[str, tuple[str, float, float]] = field(default_factory=dict)
    """Condition -> its value, since when, and when it was last told (unix seconds)."""

    def dump(self) -> dict[str, Any]:
        """Return JSON values."""
        wrong = {source: list(row) for source, row in self.wrong.items()}
        return {
            "last_letter": self.last_letter,
            "wrong": wrong,
            "on": {n: list(row) for n, row in self.on.items()},
        }

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of ``dump``. Raises KeyError, TypeError, ValueError for what is none."""
        return cls(
            natural(document["last_letter"]), named(document["wrong"], _wrong), named(document["on"], _on)
        )


def _wrong(value: Any) -> tuple[int, float]:
    count, at = value
    return natural(count), number(at)


def _on(value: Any) -> tuple[str, float, float]:
    state, since, told = value
    return words(state), number(since), number(told)


@dataclass(frozen=True, slots=True)
class Noticed:
    """The next watch, and what to tell."""

    watch: AlertWatch
    facts: tuple[AlertFact, ...] = ()
    over: tuple[Message, ...] = ()

    def __add__(self, later: Noticed) -> Noticed:
        """Join two looks; the later one's watch counts."""
        return Noticed(later.watch, self.facts + later.facts, self.over + later.over)


def observe(watch: AlertWatch, seen: Seen, now: float) -> Noticed:
    """Compare what is so now with the last look."""
    noticed = _dead(watch, seen, now)
    for source in sorted({*seen.wrong_signatures, *seen.failures}):
        noticed += _signatures(noticed.watch, source, seen.wrong_signatures.get(source, 0), now)
        noticed += _failures(noticed.watch, source, seen.failures.get(source, 0), now)
    for host in sorted({*seen.spools, *_told(watch, Kind.SPOOL_SILENT)}):
        # Once: it lasts until a person says that the host is gone.
        why = seen.spools.get(host, "")
        noticed += condition(noticed.watch, Kind.SPOOL_SILENT, "", host, why, now, inf)
    return noticed


def _told(watch: AlertWatch, kind: str) -> set[str]:
    start = f"{kind}||"
    return {name.removeprefix(start) for name in watch.on if name.startswith(start)}


def condition(
    watch: AlertWatch, kind: str, source: str, target: str, value: str, now: float, remind_s: float = REMIND_S
) -> Noticed:
    """Report a condition when it begins, changes, has lasted for ``remind_s``, and ends (``value`` empty).

    ``target`` tells conditions of one kind and source apart, and is what the message names.
    """
    name = f"{kind}|{source}|{target}"
    before = watch.on.get(name)
    rest = {other: row for other, row in watch.on.items() if other != name}
    if not value:
        if before is None:
            return Noticed(watch)
        over = Message(kind, source, now, before[1], shown=(target,) if target else (), recovered=True)
        return Noticed(replace(watch, on=rest), over=(over,))
    if before is not None and before[0] == value and now < before[2] + remind_s:
        return Noticed(watch)
    since = now if before is None else before[1]
    fact = AlertFact(kind, source, f"{name}|{value}|{now:.3f}", target, value)
    return Noticed(replace(watch, on={**rest, name: (value, since, now)}), (fact,))


def _dead(watch: AlertWatch, seen: Seen, now: float) -> Noticed:
    name = f"{Kind.DEAD_LETTERS}||"
    # A failover can set the counter back; what it then counts again is new.
    known = min(watch.last_letter, seen.last_letter)
    watch = replace(watch, last_letter=seen.last_letter)
    if not seen.dead:
        if name not in watch.on:
            return Noticed(watch)
        over = Message(Kind.DEAD_LETTERS, "", now, watch.on[name][1], recovered=True)
        return Noticed(replace(watch, on={n: row for n, row in watch.on.items() if n != name}), over=(over,))
    new = [letter for letter in seen.letters if letter.number > known]
    # Another sweeper may have told them since this one began to look.
    more = seen.more if known <= seen.since_letter else 0
    if not (new or more):
        return Noticed(watch)
    facts = [
        AlertFact(
            Kind.DEAD_LETTERS, letter.source, f"letter {letter.number}", str(letter.number), letter.reason
        )
        for letter in sorted(new, key=lambda letter: letter.number)
    ]
    if more:
        facts.append(
            AlertFact(Kind.DEAD_LETTERS, "default", f"to {seen.last_letter}", label="other", count=more)
        )
    since = watch.on[name][1] if name in watch.on else now
    return Noticed(replace(watch, on={**watch.on, name: ("", since, now)}), tuple(facts))


def _signatures(watch: AlertWatch, source: str, count: int, now: float) -> Noticed:
    before = watch.wrong.get(source)
    if before is None or count < before[0]:
        return Noticed(replace(watch, wrong={**watch.wrong, source: (count, now)}))
    came = count - before[0]
    if came < BURST and now < before[1] + BURST_S:
        return Noticed(watch)
    moved = replace(watch, wrong={**watch.wrong, source: (count, now)})
    if came < BURST:
        return Noticed(moved)
    fact = AlertFact(Kind.SIGNATURE_FAILURES, source, f"{source}|{count}", count=came)
    return Noticed(moved, (fact,))


def _failures(watch: AlertWatch, source: str, count: int, now: float) -> Noticed:
    # Not told again while it lasts: on a quiet account a scanner's five requests would remind people for days.
    danger = f"{DANGER_FROM} or more in a row" if count >= DANGER_FROM else ""
    # Whether the URL was removed, only the API can say.
    return condition(watch, Kind.URL_IN_DANGER, source, "", danger, now, inf)
