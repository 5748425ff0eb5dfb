"""The status of an installation: every stage, the workers, and in plain words each problem.

``document`` is a contract with other programs: ``deedbox status --json`` prints it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import attention, broker, budget, intake, timeline, workforce
from deedbox.ops.readmodels.attention import Attention
from deedbox.ops.readmodels.broker import BrokerView
from deedbox.ops.readmodels.budget import BudgetUse
from deedbox.ops.readmodels.intake import SourceView
from deedbox.ops.readmodels.stages import Stage, Survey, survey
from deedbox.ops.supervise.restarts import of_reply
from deedbox.shared.broker.fullness import fullness as fullness_of
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.records.intake_report import IntakeReport
from deedbox.shared.records.presence import Restart
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating
from deedbox.shared.settings import Settings

HEADS_SHOWN: Final = 10
REASONS_SHOWN: Final = 2
"""Calls that fail may also wait for a budget in between: the last reason alone would hide the other."""


@dataclass(frozen=True, slots=True)
class Status:
    """One look at an installation."""

    survey: Survey
    view: BrokerView
    fullness: Mapping[str, float] = field(default_factory=dict)
    """Each Redis that has a maxmemory (``state``, or ``broker`` if that is another one) -> the share in use."""
    sources: tuple[SourceView, ...] = ()
    web: tuple[IntakeReport, ...] = ()
    """Web processes that report."""
    budgets: tuple[BudgetUse, ...] = ()
    """What is left of the API budgets this minute."""
    restarts: tuple[Restart, ...] = ()
    """Processes of `deedbox up` that ended lately."""
    free_bytes: Mapping[str, int] = field(default_factory=dict)
    """Directory of this host -> what is left on its disk."""

    @property
    def attentions(self) -> list[Attention]:
        """What needs a person, the most urgent first."""
        return attention.attentions(self)

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
            "unknown_calls": [asdict(each) for each in self.survey.unknown],
            "pauses": [each.document() for each in self.survey.pauses],
            "restarts": [asdict(each) for each in self.restarts],
            "spools": self.survey.spools.rows(self.survey.now),
            "warnings": [each.document() for each in self.attentions],
        }


def look(installation: Installation) -> Status:
    """Read the status. Raises SettingsError if nothing runs here, Unavailable if the state's Redis does not answer."""
    found = survey(installation.redis)
    sources, web, restarts = _reports(installation, found.now)
    return Status(
        found,
        broker.view(installation.broker, installation.redis),
        fullness=_fullness(installation),
        sources=sources,
        web=web,
        budgets=tuple(budget.left(installation, budget.accounts(installation))),
        restarts=restarts,
        free_bytes=free_bytes(installation.settings),
    )


def reasons(redis: Redis, found: Survey) -> dict[str, list[str]]:
    """Return action -> what the calls of the request that has waited longest for it met. Raises Unavailable."""
    heads = found.heads_of("")[:HEADS_SHOWN]
    met = {head.action: timeline.reasons(redis, head.stream, head.action, REASONS_SHOWN) for head in heads}
    return {action: told for action, told in met.items() if told}


def _reports(
    installation: Installation, now: float
) -> tuple[tuple[SourceView, ...], tuple[IntakeReport, ...], tuple[Restart, ...]]:
    pipe = installation.redis.pipeline(transaction=False)
    for key in (keys.SOURCES, keys.INTAKE, keys.RESTARTS):
        pipe.hgetall(key)
    with translating():
        sources, web, restarts = pipe.execute()
    fresh = intake.fresh(intake.parse(web), now)
    kept = intake.sources_of(sources, installation.source_names())
    return tuple(intake.by_source(kept, fresh)), tuple(fresh), tuple(of_reply(restarts, now))


def free_bytes(settings: Settings) -> dict[str, int]:
    """Look at the disks of the data directory and the document store, as far as they are here."""
    found = {}
    with suppress(OSError):
        found[str(settings.data_dir.absolute())] = shutil.disk_usage(settings.data_dir).free
    with suppress(OSError, SettingsError):
        folder = settings.documents.folder
        if folder is not None:
            found[str(folder.absolute())] = shutil.disk_usage(folder).free
    return found


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
