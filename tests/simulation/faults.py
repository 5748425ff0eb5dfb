"""What goes wrong in one schedule. Each kind of fault is on or off per seed: some bugs need one kind alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Self

from tests.simulation.client import Loss


class Blow(StrEnum):
    """A fault that hits between two commands."""

    CRASH = "crash"
    STALL = "stall"
    JUMP = "jump"
    STOP = "stop"
    REDELIVER = "redeliver"


_RATES: Final = {
    Blow.CRASH: (0.004, 0.02),
    Blow.STALL: (0.004, 0.015),
    Blow.JUMP: (0.003, 0.01),
    Blow.STOP: (0.004, 0.01),
    Blow.REDELIVER: (0.01, 0.03),
}
"""Chances per step, of which a seed draws one: a schedule has some hundred steps before the faults end."""

_LOSSES: Final = (Loss.REQUEST, Loss.REPLY, Loss.LATE)

NO_FAULTS: Final = 0.1
"""Share of schedules without any fault: what is wrong there needs no excuse."""


@dataclass(frozen=True, slots=True)
class FaultPolicy:
    """Chances of one schedule: of blows per step, of losses per command."""

    blows: tuple[tuple[Blow, float], ...] = ()
    loss: float = 0.0
    gives_up: float = 0.0
    """Share of lost connections that outlast the client's patience."""

    @property
    def harmless(self) -> bool:
        """Nothing goes wrong at all."""
        return not self.blows and not self.loss

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """Draw the faults of a schedule."""
        if rng.random() < NO_FAULTS:
            return cls()
        blows = tuple((blow, rng.choice(rates)) for blow, rates in _RATES.items() if rng.random() < 0.5)
        loss = rng.choice((0.0, 0.02, 0.1))
        return cls(blows, loss, rng.choice((0.0, 0.3)) if loss else 0.0)

    def blow(self, rng: Random) -> Blow | None:
        """Decide whether something hits now."""
        drawn = rng.random()
        for blow, chance in self.blows:
            if drawn < chance:
                return blow
            drawn -= chance
        return None

    def lose(self, rng: Random) -> Loss:
        """Decide what becomes of a command's connection."""
        drawn = rng.random()
        if drawn >= self.loss:
            return Loss.NOTHING
        return _LOSSES[int(drawn / self.loss * len(_LOSSES))]
