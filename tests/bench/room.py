"""What all measurements share: sizes of a run, its processes, its load generator, and the form of a sample."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.generator import Generator
from tests.bench.processes import Crew, cpu_s
from tests.bench.redis_server import Server, redis_server

SETTLE_S: Final = 0.3
"""Between ready and measured: what a process still does after it has said that it is ready."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of a run."""

    rounds: int
    budget_s: float
    """No round is begun that would probably end after this long."""
    ingress_s: float
    """Of each closed loop."""
    end_to_end_s: float
    """How long a subject should be busy, if it is as fast as expected."""
    workers_s: float
    """The same, from a pre-filled broker."""
    latency_s: float
    memory_callbacks: int
    remembered_requests: int
    """Signature requests whose facts are remembered when the dedupe memory is weighed."""
    only_judged: bool = False
    """Leave out subjects that no target names."""


FULL: Final = Scale(
    rounds=5, budget_s=1_150.0, ingress_s=2.0, end_to_end_s=4.0, workers_s=2.5, latency_s=6.0,
    memory_callbacks=1_000, remembered_requests=500,
)  # fmt: skip
QUICK: Final = Scale(
    rounds=1, budget_s=150.0, ingress_s=0.8, end_to_end_s=1.2, workers_s=0.8, latency_s=2.4,
    memory_callbacks=300, remembered_requests=150, only_judged=True,
)  # fmt: skip

LATENCY_PER_S: Final = 50.0
CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """What one subject did in one round."""

    section: str
    subject: str
    values: dict[str, float]
    """Name to number; units are in the names."""
    series: dict[str, list[float]] = field(default_factory=dict, repr=False)
    """Whole distributions, for plots."""
    round: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """Where a run takes place."""

    scale: Scale
    directory: Path
    crew: Crew
    generator: Generator
    bodies: Path
    """Requests with distinct signature_request_ids, for ingress."""
    lives: Path
    """Requests that tell whole lives of signature requests in order, for latency."""
    life_texts: list[bytes] = field(repr=False)
    """The JSON texts of ``lives`` and more, for pre-filled brokers."""

    @contextmanager
    def redis(self) -> Iterator[Server]:
        """Run a new Redis for the block."""
        with redis_server(self.crew, self.directory) as server:
            yield server

    @property
    def marks(self) -> Path:
        """File of the probe."""
        return self.directory / "marks"


class Meter:
    """CPU seconds of a subject's processes and of its Redis since the meter was made."""

    def __init__(self, redis: Server, *processes: subprocess.Popen[bytes]) -> None:
        self._redis = redis
        self._processes = processes
        self._before = self._now()

    def per_1000(self, events: int) -> dict[str, float]:
        """Return CPU seconds per 1,000 events."""
        subject, redis = (now - before for now, before in zip(self._now(), self._before, strict=True))
        return {
            "cpu_s_per_1000": subject / events * 1000,
            "redis_cpu_s_per_1000": redis / events * 1000,
            "total_cpu_s_per_1000": (subject + redis) / events * 1000,
        }

    def _now(self) -> tuple[float, float]:
        return cpu_s(*self._processes), cpu_s(self._redis.process)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` (0..1) of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
