"""The status of an installation: every stage, who works, and in plain words what is wrong.

``document`` is a contract with other programs: ``deedbox status --json`` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

from redis.exceptions import RedisError

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import broker, budget, intake, workforce
from deedbox.ops.readmodels.broker import BrokerView
from deedbox.ops.readmodels.budget import Budget
from deedbox.ops.readmodels.intake import FAILURES_MAX
from deedbox.ops.readmodels.stages import Stage, Survey, survey
from deedbox.shared.core.room import FULL_FROM
from deedbox.shared.core.room import fullness as fullness_of
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated

OVERDUE_MAX_S: Final = 15.0
"""A sweeper looks four times a second; after this long there is none."""

BRIDGE_SLACK_S: Final = 15.0
"""A bridge's claim lasts 10 s: callbacks that wait for longer than this wait for a bridge."""

HEADS_SHOWN: Final = 10

REFUSALS_TOLD: Final = 5
"""Half of what costs the callback URL; fewer are what any scanner of the internet causes."""


@dataclass(frozen=True, slots=True)
class Status:
    """One look at an installation."""

    survey: Survey
    view: BrokerView
    fullness: Mapping[str, float] = field(default_factory=dict)
    """Each Redis that has a maxmemory (``state``, or ``broker`` if that is another one) -> the share in use."""
    refusing: Mapping[str, int] = field(default_factory=dict)
    """Source -> callbacks refused since the last one that was accepted, 10 at most."""
    used_up: tuple[Budget, ...] = ()
    """API budgets of which nothing is left this minute."""

    @property
    def stages(self) -> dict[str, Stage]:
        """Every stage by name, in the order of the flow."""
        found = self.survey
        return {
            "broker": self.view.broker,
            "claimed": self.view.claimed,
            "inbox": found.inbox,
            "held": found.held,
            **{f"lane:{lane.name}": lane.stage for lane in found.lanes},
            "retrying": found.retrying,
            "dead": found.dead,
            "spool": found.spool,
        }

    def document(self) -> dict[str, Any]:
        """Return JSON values: ``stages`` is the contract; the rest may grow."""
        return {
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
            "workers": workforce.as_json(self.survey.workers),
            "counters": dict(sorted(self.survey.counters.items())),
            "waiting": [asdict(head) for head in self.survey.waiting[:HEADS_SHOWN]],
            "redis_fullness": dict(self.fullness),
            "warnings": [*warnings(self), *refusals(self), *starvation(self)],
        }


def look(installation: Installation) -> Status:
    """Read the status. Raises SettingsError if nothing runs here, Unavailable if the state's Redis does not answer."""
    found = survey(installation.redis)
    fullness, refusing = _fullness(installation), _refusing(installation)
    used_up = tuple(
        each for each in budget.left(installation, budget.accounts(installation)) if each.left == 0
    )
    return Status(found, broker.view(installation.broker, installation.redis), fullness, refusing, used_up)


def _refusing(installation: Installation) -> dict[str, int]:
    try:
        reply = cast("dict[bytes, bytes]", installation.redis.hgetall(keys.SOURCES))
    except RedisError as error:
        raise translated(error) from error
    return {name: len(source.failures) for name, source in intake.sources_of(reply).items()}


def _fullness(installation: Installation) -> dict[str, float]:
    servers = {"state": installation.redis}
    other = installation.other_redis
    if other is not None:
        servers["broker"] = other.client
    found = {}
    for name, redis in servers.items():
        with suppress(RedisError):  # a broker that does not answer is told as such
            share = fullness_of(redis.info("memory"))
            if share is not None:
                found[name] = round(share, 3)
    return found


def starvation(status: Status) -> list[str]:
    """Say that calls wait for the API's budget, not for a worker: nothing is wrong, but it may last."""
    waiting = status.survey.retrying.depth
    if not waiting or not status.used_up:
        return []
    which = ", ".join(
        f"{each.kind} of source {each.source} ({each.per_minute} a minute)" for each in status.used_up
    )
    sentence = (
        f"The API budget is used up: {which}. {waiting} calls wait for their turn and go on by themselves; the bounds "
        "are DEEDBOX_FILES_PER_MINUTE and its like, below the vendor's."
    )
    return [sentence]


def refusals(status: Status) -> list[str]:
    """Say which sources refuse everything they get: after ten in a row Dropbox Sign drops the callback URL."""
    return [
        f"Source {name} refused its last {count} callbacks{' or more' if count >= FAILURES_MAX else ''}; after "
        f"{FAILURES_MAX} in a row Dropbox Sign drops the callback URL: `deedbox check`, and the log of web for the reason."
        for name, count in status.refusing.items()
        if count >= REFUSALS_TOLD
    ]


def warnings(status: Status) -> list[str]:
    """Say in plain words what needs a person; empty if nothing does."""
    found, view = status.survey, status.view
    said = []
    if view.trouble:
        said.append(f"The broker does not answer ({view.trouble}): `deedbox check` says more.")
    waiting_s = max(view.broker.oldest_age_s or 0.0, view.claimed.oldest_age_s or 0.0)
    if not view.bridges and (view.broker.depth or view.claimed.depth):
        said.append("Callbacks wait in the broker and no bridge runs: start `deedbox bridge`.")
    elif view.bridges and waiting_s > BRIDGE_SLACK_S:
        said.append(
            f"Callbacks have waited in the broker for {waiting_s:.0f} s: the bridge does not keep up."
        )
    said += [
        f"The Redis of the {name} is {share:.0%} full: `deedbox check`, and the runbook, 'Redis is full'."
        for name, share in status.fullness.items()
        if share >= FULL_FROM
    ]
    if view.dead_letters:
        said.append(
            f"The broker gave up delivering {view.dead_letters} of its messages: `deedbox dead collect` makes "
            "dead letters of them."
        )
    staffed = {worker.lane for worker in found.workers}
    said += [
        f"Lane {lane.name} has work (depth {lane.stage.depth}) and no living worker: "
        f"start `deedbox worker --lane {lane.name}`."
        for lane in found.lanes
        if lane.stage.depth and lane.name not in staffed
    ]
    if found.overdue_s > OVERDUE_MAX_S:
        said.append(
            f"Holds, retries or leases have been over for {found.overdue_s:.0f} s and nobody looks: "
            "start `deedbox sweeper`."
        )
    if found.dead.depth:
        letters = "letter waits" if found.dead.depth == 1 else "letters wait"
        said.append(f"{found.dead.depth} dead {letters} for a person: `deedbox dead list`.")
    return said
