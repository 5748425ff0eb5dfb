"""What a scrape reads beside the status: a handful of round trips, whatever the backlog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import budget, status
from deedbox.ops.readmodels.status import Status
from deedbox.shared.core.attempts import CALL_BOUNDS_S
from deedbox.shared.core.fields import count_of, moment_of
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.scripting import text


@dataclass(slots=True)
class Calls:
    """One action's calls in one lane."""

    outcomes: dict[str, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(CALL_BOUNDS_S) + 1))
    """Not cumulative."""
    sum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that a scrape shows."""

    status: Status
    calls: Mapping[tuple[str, str], Calls]
    """By lane and action."""
    pauses_s: Mapping[str, float]
    """By source."""


@translating()
def read(installation: Installation) -> Reading:
    """Read. Raises SettingsError if nothing runs here, Unavailable if the state's Redis does not answer."""
    looked = status.look(installation)
    now = looked.survey.now
    accounts = budget.accounts(installation)
    pipe = installation.redis.pipeline(transaction=False)
    pipe.hgetall(keys.CALLS)
    for account in accounts.values():
        pipe.get(keys.api_pause(account))
    calls, *pauses = pipe.execute()
    return Reading(
        looked,
        _calls(calls),
        {
            source: max(0.0, (moment_of(pause) or 0.0) - now)
            for source, pause in zip(accounts, pauses, strict=True)
        },
    )


_CALL_PARTS: Final = (3, 4)
"""Of the name of a counter of calls: lane, action, what, and for a bucket its number."""


def _calls(reply: Mapping[bytes, bytes]) -> dict[tuple[str, str], Calls]:
    found: dict[tuple[str, str], Calls] = {}
    for packed, value in reply.items():
        name = text(packed).split("|")
        if len(name) not in _CALL_PARTS:
            continue  # none of ours
        lane, action, what, *bucket = name
        mine = found.setdefault((lane, action), Calls())
        if what == "us":
            mine.sum_s = count_of(value) / 1_000_000
        elif what != "le":
            mine.outcomes[what] = count_of(value)
        elif (at := count_of(bucket[0].encode() if bucket else b"")) < len(mine.buckets):
            mine.buckets[at] = count_of(value)
    return found
