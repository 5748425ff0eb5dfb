"""Latency: from the begin of a POST to the begin of its action, 50 callbacks per second, one connection each.

The times of a Poisson process, the same for every subject of a round; callbacks of one signature request are
about two seconds apart and in order, so that nothing is held (the samples count it). One clock, as all processes run on one machine.

Not measured: what a hold adds to callbacks that come out of order (up to ``DEEDBOX_HOLD_S``), bursts, backlogs.
"""

from __future__ import annotations

from typing import Final

from tests.bench import probe, subjects
from tests.bench.ingress import listens
from tests.bench.load import Plan
from tests.bench.processes import free_port
from tests.bench.redis_server import Server
from tests.bench.room import LATENCY_PER_S, Meter, Room, Sample, percentile

SECTION: Final = "latency"
SUBJECTS: Final = tuple(subjects.CONSUMERS)
WARM_UP: Final = 50
"""Callbacks before the measured ones: connections, imports, script caches."""

LAST_WAIT_S: Final = 20.0


def measure(room: Room, subject: str, seed: int) -> list[Sample]:
    """Measure one subject once. Raises BenchError if a callback does not arrive at its action."""
    count = int(LATENCY_PER_S * room.scale.latency_s)
    with room.redis() as redis:
        port = free_port()
        server = subjects.ingress(room.crew, subject, redis, port)
        probing = probe.settings(room.marks, every=True)
        processes = (server, *subjects.CONSUMERS[subject](room.crew, redis, probing))
        try:
            room.crew.wait_for(subject, lambda: listens(port))
            room.crew.wait_for(subject, lambda: redis.blocked() >= subjects.BLOCKED[subject])
            _send(room, port, 0, WARM_UP, seed)
            _arrived(room, subject, WARM_UP)
            return [_measured(room, redis, processes, (subject, port, count, seed))]
        finally:
            room.crew.stop(*processes)


def _measured(
    room: Room, redis: Server, processes: tuple[subjects.Process, ...], run: tuple[str, int, int, int]
) -> Sample:
    subject, port, count, seed = run
    meter = Meter(redis, *processes)
    sent_at, answer_ms = _send(room, port, WARM_UP, count, seed)
    began_at = _arrived(room, subject, WARM_UP + count)
    waited_ms = [(began_at[WARM_UP + place] - at) * 1000 for place, at in enumerate(sent_at)]
    values = meter.per_1000(count) | {
        "p50_ms": percentile(waited_ms, 0.50),
        "p95_ms": percentile(waited_ms, 0.95),
        "p99_ms": percentile(waited_ms, 0.99),
        "max_ms": max(waited_ms),
        "answer_p50_ms": percentile(answer_ms, 0.50),
        "answer_p99_ms": percentile(answer_ms, 0.99),
        "callbacks": float(count),
        "held": float(redis.counter("held")),
    }
    return Sample(SECTION, subject, values, {"waited_ms": [round(each, 3) for each in sorted(waited_ms)]})


def _send(room: Room, port: int, first: int, count: int, seed: int) -> tuple[list[float], list[float]]:
    plan = Plan(
        port, str(room.lives), keep_alive=False, rate_per_s=LATENCY_PER_S, first=first, count=count, seed=seed
    )
    result = room.generator.offer(plan)
    return result.sent_at, result.answer_ms


def _arrived(room: Room, subject: str, count: int) -> dict[int, float]:
    room.crew.wait_for(subject, lambda: len(probe.read(room.marks)) >= count, LAST_WAIT_S)
    return probe.read(room.marks)
