"""Which dead letters a person means on the pages, and how many of which kind there are."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Self

from werkzeug.datastructures import MultiDict

from deedbox.ops.readmodels.timeline import key_of
from deedbox.ops.repair.causes import Cause, causes
from deedbox.ops.repair.deadletters import DeadLetter, DeadLetters, Selection
from deedbox.ops.web.auth.access import Refused
from deedbox.ops.web.errors import OpsError
from deedbox.ops.wording.times import moment
from deedbox.shared.core.errors import SettingsError

PER_PAGE: Final = 50
COUNTED_MAX: Final = 2_000
"""Letters, the newest, that are counted by cause and for the filters: four round trips."""

IDS_MAX: Final = 500
"""Ids that one form may name: pages show 50."""

START_MAX: Final = 1_000_000
TEXTS: Final = ("reason", "action", "type", "error", "stream")
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
    error: str = ""
    """Kind of error."""
    stream: str = ""
    """Source and ordering key, such as `default:signature_request/<id>`; or an id alone, of any source."""
    since: float = 0.0
    """Unix seconds: letters that were filed earlier are not meant."""
    upto: float | None = None
    """Unix seconds: letters that were filed later are not meant. What a person confirms is what was shown."""
    start: int = 0
    """Where the page of the list begins that a person comes from, and goes back to."""

    @classmethod
    def of(cls, values: MultiDict[str, str], now: float) -> Self:
        """Read what a form or an address says. Raises OpsError."""
        ids = tuple(dict.fromkeys(values.getlist("id")))
        start = min(START_MAX, max(0, values.get("from", 0, type=int)))
        texts = {name: values.get(name, "").strip() for name in TEXTS}
        return cls(
            ids, values.get("all") == "1", **texts, since=_since(values.get("since", "").strip(), now),
            upto=_upto(values.get("upto", "")), start=start,
        )  # fmt: skip

    @property
    def filters(self) -> dict[str, Any]:
        """Return the filters that are set, as an address has them."""
        named = {name: getattr(self, name) for name in TEXTS}
        return {name: value for name, value in (*named.items(), ("since", self.since_text)) if value}

    @property
    def since_text(self) -> str:
        """Return the bound as a person may write it: a fixed time, so that pages do not drift apart."""
        return f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%dT%H:%M:%SZ}" if self.since else ""

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

    @property
    def selection(self) -> Selection:
        """Return what the commands call it."""
        if self.ids:
            return Selection(self.ids)
        first, _, rest = self.stream.partition(":")
        source, key = (first, rest) if rest else ("", first)
        return Selection(
            reason=self.reason, action=self.action, pattern=self.type, source=source,
            key=key_of(key), error=self.error, since=self.since,
            until=math.inf if self.upto is None else self.upto,
        )  # fmt: skip


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
    fitting, start = letters.newest_first(wanted.selection), wanted.start
    read = list(islice(fitting, start + PER_PAGE + 1))
    matching = len(read) + (sum(1 for _ in fitting) if wanted.filters else 0)
    total = letters.count()  # afterwards, so that a letter that is filed meanwhile is counted, if it was read
    return Listing(
        read[start : start + PER_PAGE], total, start, len(read) > start + PER_PAGE,
        matching if wanted.filters else total, read[0].at if read else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LetterSurvey:
    """The newest letters by what they have in common, the most frequent first."""

    facets: dict[str, list[tuple[str, int]]]
    causes: list[tuple[Cause, int, float]]
    """With the time of the newest letter."""
    counted: int


def survey(letters: DeadLetters) -> LetterSurvey:
    """Count the newest letters. Raises Unavailable."""
    newest = list(islice(letters.newest_first(), COUNTED_MAX))
    facets = {
        name: Counter(value for letter in newest if (value := str(getattr(letter, name)))).most_common()
        for name in ("reason", "action", "type")
    }
    latest: dict[Cause, float] = {}
    for letter in newest:
        latest.setdefault(Cause(letter.reason, letter.action, letter.error), letter.at)
    return LetterSurvey(
        facets, [(cause, count, latest[cause]) for cause, count in causes(newest)], len(newest)
    )


def meant(letters: DeadLetters, wanted: Wanted) -> Meant:
    """Return what a confirmation would act on; ids that are gone are left out. Raises Unavailable."""
    fitting = letters.there(wanted.ids[:IDS_MAX]) if wanted.ids else letters.select(wanted.selection)
    upto = wanted.upto if wanted.upto is not None else max((letter.at for letter in fitting), default=None)
    return Meant(replace(wanted, upto=upto), fitting[:ACT_MAX], max(0, len(fitting) - ACT_MAX))


def _since(text: str, now: float) -> float:
    try:
        return moment(text, "since", now) if text else 0.0
    except SettingsError as error:
        raise OpsError(Refused.BAD_REQUEST, str(error)) from None


def _upto(text: str) -> float | None:
    try:
        found = float(text) if text else None
    except ValueError:
        found = math.nan
    if found is not None and not math.isfinite(found):
        raise OpsError(Refused.BAD_REQUEST, "upto is not a valid time; open the page again")
    return found
