"""What a scrape reads beside the status: a handful of round trips, whatever the backlog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import budget, intake, status
from deedbox.ops.readmodels.budget import Budget
from deedbox.ops.readmodels.intake import SourceIntake
from deedbox.ops.readmodels.status import Status
from deedbox.shared.core.measures import CALL_BOUNDS_S
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated
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
    sources: Mapping[str, SourceIntake]
    calls: Mapping[tuple[str, str], Calls]
    """By lane and action."""
    web_processes: int
    spool_bytes: int
    budgets: tuple[Budget, ...]
    pauses_s: Mapping[str, float]
    """By source."""


def read(installation: Installation) -> Reading:
    """Read. Raises SettingsError if nothing runs here, Unavailable if the state's Redis does not answer."""
    looked = status.look(installation)
    try:
        return _read(installation, looked)
    except RedisError as error:
        raise translated(error) from error


def _read(installation: Installation, looked: Status) -> Reading:
    now = looked.survey.now
    accounts = budget.accounts(installation)
    pipe = installation.redis.pipeline(transaction=False)
    pipe.hgetall(keys.SOURCES)
    pipe.hgetall(keys.CALLS)
    pipe.hvals(keys.INTAKE)
    for account in accounts.values():
        pipe.get(keys.api_pause(account))
    sources, calls, reports, *pauses = pipe.execute()
    return Reading(
        looked,
        intake.sources_of(sources, installation.source_names()),
        _calls(calls),
        intake.live_processes(reports, now),
        looked.survey.spools.size_bytes,
        tuple(budget.left(installation, accounts)),
        {source: max(0.0, float(pause or 0) - now) for source, pause in zip(accounts, pauses, strict=True)},
    )


def _calls(reply: Mapping[bytes, bytes]) -> dict[tuple[str, str], Calls]:
    found: dict[tuple[str, str], Calls] = {}
    for packed, value in reply.items():
        lane, action, what, *bucket = text(packed).split("|")
        mine = found.setdefault((lane, action), Calls())
        if what == "us":
            mine.sum_s = int(value) / 1_000_000
        elif what == "le":
            mine.buckets[int(bucket[0])] = int(value)
        else:
            mine.outcomes[what] = int(value)
    return found
