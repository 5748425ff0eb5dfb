"""Everything that the overview shows, in one look."""

from __future__ import annotations

from dataclasses import dataclass, field

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import destinations, running, status
from deedbox.ops.readmodels.attention import Attention
from deedbox.ops.readmodels.destinations import DestinationView
from deedbox.ops.readmodels.intake import SourceView
from deedbox.ops.readmodels.running import RunningCall
from deedbox.ops.readmodels.stages import Lane
from deedbox.ops.readmodels.status import Status
from deedbox.ops.readmodels.workforce import Worker
from deedbox.shared.records.intake_report import IntakeReport


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at an installation."""

    status: Status
    calls: list[RunningCall]
    destinations: list[DestinationView]
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Action -> why its calls wait for a retry."""

    @property
    def sources(self) -> tuple[SourceView, ...]:
        """Every source, and why it refuses."""
        return self.status.sources

    @property
    def web(self) -> tuple[IntakeReport, ...]:
        """Web processes that report."""
        return self.status.web

    @property
    def attentions(self) -> list[Attention]:
        """What needs a person, the most urgent first."""
        return self.status.attentions

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
    lanes = {lane.name: lane.actions for lane in found.survey.lanes}
    calls = running.read(installation.redis, lanes, found.survey.now)
    return Overview(
        found, calls, destinations.read(installation.redis, found.survey),
        status.reasons(installation.redis, found.survey),
    )  # fmt: skip
