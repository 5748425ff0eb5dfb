"""Everything that the overview shows, in one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import intake, running, status, web_reports
from deedbox.ops.readmodels.attention import Attention, attentions
from deedbox.ops.readmodels.intake import SourceIntake
from deedbox.ops.readmodels.running import Call
from deedbox.ops.readmodels.stages import Lane
from deedbox.ops.readmodels.status import Status
from deedbox.ops.readmodels.web_reports import Report, SourceView
from deedbox.ops.readmodels.workforce import Worker
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translated


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at an installation."""

    status: Status
    sources: list[SourceView]
    web: list[Report]
    """Web processes that report."""
    calls: list[Call]
    attentions: list[Attention]

    @property
    def at(self) -> float:
        """Unix seconds, Redis's clock."""
        return self.status.survey.now

    def workers_of(self, lane: str) -> list[Worker]:
        """Return the living workers of a lane."""
        return [worker for worker in self.status.survey.workers if worker.lane == lane]

    def lane(self, name: str) -> Lane | None:
        """Return a lane by name."""
        return next((lane for lane in self.status.survey.lanes if lane.name == name), None)


def look(installation: Installation) -> Overview:
    """Read everything. Raises SettingsError if nothing runs here, Unavailable if the state's Redis does not answer."""
    found = status.look(installation)
    now = found.survey.now
    reports = web_reports.fresh(web_reports.read(installation.redis), now)
    sources = web_reports.by_source(_kept(installation), reports)
    calls = running.read(installation.redis, {lane.name: lane.actions for lane in found.survey.lanes}, now)
    return Overview(found, sources, reports, calls, attentions(found, sources))


def _kept(installation: Installation) -> dict[str, SourceIntake]:
    try:
        reply: Any = installation.redis.hgetall(keys.SOURCES)
    except RedisError as error:
        raise translated(error) from error
    return intake.sources_of(reply, installation.source_names())
