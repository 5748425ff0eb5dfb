"""What a scrape reads beside the status: a handful of round trips, whatever the backlog."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from ops.installation import Installation
from ops.readmodels import intake, status
from ops.readmodels.intake import SourceIntake
from ops.readmodels.status import Status
from shared import budgets, keys
from shared.connections import translated
from shared.core.errors import SettingsError
from shared.core.measures import CALL_BOUNDS_S
from shared.scripting import SERVER_CLOCK, text


@dataclass(slots=True)
class Calls:
    """One action's calls in one lane."""

    outcomes: dict[str, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(CALL_BOUNDS_S) + 1))
    """Not cumulative."""
    sum_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """One kind of API calls of one source."""

    source: str
    kind: str
    per_minute: int
    left: int


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
    accounts = _accounts(installation)
    pipe = installation.redis.pipeline(transaction=False)
    pipe.hgetall(keys.SOURCES)
    pipe.hgetall(keys.CALLS)
    pipe.hvals(keys.INTAKE)
    pipe.hvals(keys.SPOOLS)
    for account in accounts.values():
        pipe.get(keys.api_pause(account))
    sources, calls, reports, spools, *pauses = pipe.execute()
    return Reading(
        looked,
        intake.sources_of(sources, installation.source_names()),
        _calls(calls),
        intake.live_processes(reports, now),
        sum(_bytes(report) for report in spools),
        tuple(_budgets(installation, accounts)),
        {source: max(0.0, float(pause or 0) - now) for source, pause in zip(accounts, pauses, strict=True)},
    )


def _accounts(installation: Installation) -> dict[str, str]:
    """Return source to account; none without keys: ops may run where they are not."""
    try:
        sources = installation.settings.sources()
    except SettingsError:
        return {}
    return {name: budgets.account_of(source.api_keys[0]) for name, source in sources.items()}


def _budgets(installation: Installation, accounts: Mapping[str, str]) -> Iterator[Budget]:
    rates = budgets.per_minute(installation.settings)
    asked = [(source, kind, rate) for source in accounts for kind, rate in rates.items()]
    if not asked:
        return
    operands: list[str | int] = []
    for source, kind, rate in asked:
        operands += [budgets.calls_key(kind, accounts[source], rate), rate]
    used: Iterable[Any] = installation.scripts.call("budget_used", SERVER_CLOCK, budgets.WINDOW_S, *operands)
    for (source, kind, rate), count in zip(asked, used, strict=True):
        yield Budget(source, kind, rate, max(0, rate - int(count)))


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


def _bytes(report: bytes) -> int:
    try:
        return int(json.loads(report)["bytes"])
    except (ValueError, KeyError, TypeError):
        return 0
