"""What a schedule draws from its seed: how large the deployment is, and what its operators do when."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget
from tests.simulation.scheduler import START

ERASING: Final = 0.3
"""Share of schedules in which an operator erases the first request, at any time and however often interrupted."""


SYNTHESISING: Final = 0.4
"""Share of schedules in which lost events are synthesised."""

PAUSING: Final = 0.4
"""Share of schedules in which an operator pauses and resumes this and that."""

PAUSABLE: Final = (
    PauseTarget(PauseKind.ACTION, "steady"),
    PauseTarget(PauseKind.ACTION, "slow"),
    PauseTarget(PauseKind.ACTION, "loose"),
    PauseTarget(PauseKind.LANE, "default"),
    PauseTarget(PauseKind.LANE, "side"),
    PauseTarget(PauseKind.SOURCE, "default"),
    PauseTarget(PauseKind.REQUEST, "default:signature_request/r0"),
    PauseTarget(PauseKind.REQUEST, "default:signature_request/r1"),
)


@dataclass(frozen=True, slots=True)
class PlannedPause:
    """One pause of a schedule."""

    at: float
    target: PauseTarget
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Size:
    """How many processes of each kind, and how they are tuned."""

    bridges: int
    sequencers: int
    workers: int
    sweepers: int
    sweep_pace: float
    """Factor on the sweeper's tick: a slower one costs fewer steps and changes no law."""
    hold_s: float
    same_redis: bool
    archive_after_s: float
    """So soon that callbacks, retries and operators meet archived requests."""

    @classmethod
    def drawn(cls, rng: Random) -> Size:
        """Draw a small deployment."""
        return cls(
            bridges=rng.choice((1, 1, 2)),
            sequencers=rng.choice((1, 2)),
            workers=rng.choice((1, 1, 2)),
            sweepers=rng.choice((1, 1, 1, 2)),
            sweep_pace=rng.choice((4.0, 12.0, 24.0)),
            hold_s=rng.choice((1.0, 3.0)),
            same_redis=rng.random() < 0.7,
            archive_after_s=rng.choice((0.5, 2.0, 8.0)),
        )


def synthesises(seed: int) -> bool:
    """Return whether lost events are synthesised."""
    return Random(f"{seed}|makes up").random() < SYNTHESISING


def erasure(seed: int) -> float | None:
    """Draw when an operator erases the first request; None: not in this schedule."""
    drawn = Random(f"{seed}|erasure")
    return START + drawn.random() * 12 if drawn.random() < ERASING else None


def pauses(seed: int) -> list[PlannedPause]:
    """Draw the pauses, the first one first."""
    drawn = Random(f"{seed}|pauses")
    count = drawn.choice((1, 2, 4)) if drawn.random() < PAUSING else 0
    begin = sorted(START + drawn.random() * 10 for _ in range(count))
    return [PlannedPause(at, drawn.choice(PAUSABLE), drawn.random() * 8) for at in begin]


def deployments(seed: int) -> list[float]:
    """Draw when the next version is deployed, and the old one again."""
    drawn = Random(f"{seed}|moves")
    return sorted(START + drawn.random() * 6 for _ in range(drawn.choice((0, 1, 1, 2, 3))))
