"""Which dead letters a person means on the pages, and how many of which kind there are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Self

from werkzeug.datastructures import MultiDict

from deedbox.ops.repair.deadletters import DeadLetter, DeadLetters, Selection
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.errors import OpsError
from deedbox.shared.core.errors import DeedboxError, Unavailable

PER_PAGE: Final = 50
FACETS_FROM: Final = 2_000
"""Letters, the newest, whose kinds are counted for the filters: four round trips."""

IDS_MAX: Final = 500
"""Ids that one form may name: pages show 50."""

START_MAX: Final = 1_000_000
ACT_MAX: Final = 2_000
"""Letters that one confirmation moves: some seconds' work, well within a browser's patience."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """These ids, or all that match the filters; empty texts match everything."""

    ids: tuple[str, ...] = ()
    all: bool = False
    """All that match, because a person said so: with neither ids nor this, no letter is selected."""
    reason: str = ""
    action: str = ""
    type: str = ""
    stream: str = ""
    """Source and ordering key, such as `default:signature_request/<id>`."""
    upto: float | None = None
    """Unix seconds: letters that were filed later are not meant. What a person confirms is what was shown."""
    start: int = 0
    """Where the page of the list begins that a person comes from, and goes back to."""

    @classmethod
    def of(cls, values: MultiDict[str, str]) -> Self:
        """Read what a form or an address says. Raises OpsError."""
        ids = tuple(dict.fromkeys(values.getlist("id")))
        start = min(START_MAX, max(0, values.get("from", 0, type=int)))
        return cls(
            ids, values.get("all") == "1", values.get("reason", ""), values.get("action", ""), values.get("type", ""),
            values.get("stream", ""), _upto(values.get("upto", "")), start,
        )  # fmt: skip

    @property
    def filters(self) -> dict[str, Any]:
        """Return the filters that are set, as an address has them."""
        named = {"reason": self.reason, "action": self.action, "type": self.type, "stream": self.stream}
        return {name: value for name, value in named.items() if value}

    @property
    def place(self) -> dict[str, Any]:
        """Return the page of the list, as an address has it."""
        return self.filters | ({"from": self.start} if self.start else {})

    @property
    def selects(self) -> bool:
        """Whether anything is selected."""
        return bool(self.ids) or self.all

    def fields(self) -> list[tuple[str, str]]:
        """Return what a form must send to mean the same."""
        rows = [("id", each) for each in self.ids] or [("all", "1")]
        rows += [(name, str(value)) for name, value in self.place.items()]
        return [*rows, ("upto", repr(self.upto))] if self.upto is not None else rows

    def fits(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is meant, as far as ``Selection`` does not know."""
        about = f"{letter.source}:{letter.key}"
        return (
            self.type in {"", letter.type}
            and self.stream in {"", about}
            and (self.upto is None or letter.at <= self.upto)
        )

    @property
    def selection(self) -> Selection:
        """The part that the commands know too."""
        return Selection(self.ids) if self.ids else Selection(reason=self.reason, action=self.action)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of letters."""

    letters: list[DeadLetter]
    total: int
    """All dead letters there are."""
    start: int
    more: bool
    matching: int
    """All that match."""
    upto: float | None
    """When the newest of them was filed."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The letters of one confirmation, oldest first."""

    wanted: Wanted
    letters: list[DeadLetter]
    left: int
    """Letters that match too and are for a next time."""


def listing(letters: DeadLetters, wanted: Wanted) -> Listing:
    """Read one page, newest first. Raises Unavailable."""
    fitting, start = _fitting(letters, wanted), wanted.start
    read = list(islice(fitting, start + PER_PAGE + 1))
    matching = len(read) + (sum(1 for _ in fitting) if wanted.filters else 0)
    total = letters.count()  # afterwards, so that a letter that is filed meanwhile is counted, if it was read
    return Listing(
        read[start : start + PER_PAGE], total, start, len(read) > start + PER_PAGE,
        matching if wanted.filters else total, read[0].at if read else None,
    )  # fmt: skip


def facets(letters: DeadLetters) -> dict[str, list[tuple[str, int]]]:
    """Count the newest letters by reason, action and type, the most frequent first. Raises Unavailable."""
    newest = list(islice(letters.newest_first(), FACETS_FROM))
    return {
        name: Counter(value for letter in newest if (value := str(getattr(letter, name)))).most_common()
        for name in ("reason", "action", "type")
    }


def meant(letters: DeadLetters, wanted: Wanted) -> Meant:
    """Return what a confirmation would act on; ids that are gone are left out. Raises Unavailable."""
    fitting = _named(letters, wanted.ids) if wanted.ids else list(_fitting(letters, wanted))[::-1]
    upto = wanted.upto if wanted.upto is not None else max((letter.at for letter in fitting), default=None)
    return Meant(replace(wanted, upto=upto), fitting[:ACT_MAX], max(0, len(fitting) - ACT_MAX))


def kinds(letters: Sequence[DeadLetter]) -> list[tuple[str, str, int]]:
    """Count letters by reason and action, the most frequent first."""
    counted = Counter((letter.reason, letter.action) for letter in letters)
    return [(reason, action, count) for (reason, action), count in counted.most_common()]


def one(letters: DeadLetters, letter_id: str) -> DeadLetter | None:
    """Return a letter; None if it is gone. Raises Unavailable."""
    try:
        [letter] = letters.select(Selection((letter_id,)))
    except Unavailable:
        raise
    except DeedboxError:
        return None
    return letter


def _upto(text: str) -> float | None:
    try:
        found = float(text) if text else None
    except ValueError:
        found = math.nan
    if found is not None and not math.isfinite(found):
        raise OpsError(Refused.BAD_REQUEST, "upto is not a valid time; open the page again")
    return found


def _fitting(letters: DeadLetters, wanted: Wanted) -> Iterator[DeadLetter]:
    return (letter for letter in letters.newest_first(wanted.selection) if wanted.fits(letter))


def _named(letters: DeadLetters, ids: Sequence[str]) -> list[DeadLetter]:
    # One by one, because another operator may have removed some since the page was shown.
    found = [letter for each in ids[:IDS_MAX] if (letter := one(letters, each)) is not None]
    return sorted(found, key=lambda letter: letter.at)
