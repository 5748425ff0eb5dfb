"""Everything that the overview shows, in one look."""

from __future__ import annotations

from dataclasses import dataclass, field

from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import destinations, running, status
from deedbox.ops.readmodels.destinations import DestinationView
from deedbox.ops.readmodels.running import RunningCall
from deedbox.ops.readmodels.status import Status


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at an installation."""

    status: Status
    calls: list[RunningCall]
    destinations: list[DestinationView]
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Action -> why its calls wait for a retry."""


def look(installation: Installation) -> Overview:
    """Read everything. Raises SettingsError if nothing runs here, Unavailable if the state's Redis does not answer."""
    found = status.look(installation)
    lanes = {lane.name: lane.actions for lane in found.survey.lanes}
    calls = running.read(installation.redis, lanes, found.survey.now)
    return Overview(
        found, calls, destinations.read(installation.redis, found.survey),
        status.reasons(installation.redis, found.survey),
    )  # fmt: skip
