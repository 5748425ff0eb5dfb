"""What goes wrong in one schedule. Each kind of fault is on or off per seed: some bugs need one kind alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, Self

from tests.simulation.client import Loss
from tests.simulation.scheduler import Process, Scheduler


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

FAULTY_STEPS: Final = 1_200
"""Faults end after so many steps at the latest: a world that is hit for ever never comes to rest."""

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


class Faults:
    """Hits a world between its steps, until the faults end."""

    def __init__(
        self, policy: FaultPolicy, scheduler: Scheduler, until: float, replace: Callable[[Process], None],
        redeliver: Callable[[], None],
    ) -> None:  # fmt: skip
        """``replace`` lets a supervisor start another process; ``redeliver`` lets a callback come once more."""
        self.calm_since: float | None = None
        """When the faults ended."""
        self._policy = policy
        self._scheduler = scheduler
        self._until = until
        self._replace = replace
        self._redeliver = redeliver

    def lose(self) -> Loss:
        """Decide what becomes of a command's connection."""
        return Loss.NOTHING if self.calm_since else self._policy.lose(self._scheduler.rng)

    def gives_up(self) -> bool:
        """Decide whether a lost connection outlasts the client's patience."""
        return self._scheduler.rng.random() < self._policy.gives_up

    def step(self) -> None:
        """Let something hit now, or nothing."""
        scheduler = self._scheduler
        if self.calm_since is not None:
            return
        if scheduler.now > self._until or scheduler.steps > FAULTY_STEPS:
            self.calm_since = scheduler.now
            scheduler.note(lambda: "the faults end")
            return
        blow = self._policy.blow(scheduler.rng)
        victims = [each for each in scheduler.live if each.kind != "ingress"]
        if blow is not None and victims:
            self._strike(blow, victims)

    def _strike(self, blow: Blow, victims: list[Process]) -> None:
        scheduler, rng = self._scheduler, self._scheduler.rng
        current = scheduler.current.process
        victim = current if current in victims and rng.random() < 0.5 else rng.choice(victims)
        scheduler.note(lambda: f"fault: {blow}" + ("" if blow in _OF_NO_PROCESS else f" of {victim.name}"))
        if blow is Blow.JUMP:
            scheduler.now = round(scheduler.now + rng.random() * 15, 6)
            for each in victims:
                each.disturbances += 1
        elif blow is Blow.REDELIVER:
            self._redeliver()
        elif blow is Blow.STALL:
            victim.disturbances += 1
            victim.stalled_until = round(scheduler.now + rng.random() * 25, 6)
        elif blow is Blow.STOP:
            victim.stopping = True
        else:
            self._replace(victim)
            scheduler.kill(victim)


_OF_NO_PROCESS: Final = {Blow.JUMP, Blow.REDELIVER}
