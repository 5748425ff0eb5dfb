"""End to end: events per second from the first POST to the last call of a no-op action, and all the CPU of it.

Everything shares the cores: load generator, web processes, Redis, workers. Callbacks come 16 at a time, each on a
connection of its own, as fast as they are acknowledged; the workers are there from the beginning. Peers get two
worker processes, Deedbox one of each kind. How many callbacks a subject gets depends on what it is expected to
handle, so that each is busy for about as long. Deedbox has to release every event exactly once.

Not measured: networks, TLS, proxies; actions that do something; backlogs (``growth`` has them), retries, disorder
beyond what 16 connections make by themselves. The generator's CPU is not in the sums.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.bench import probe, subjects
from tests.bench.ingress import listens
from tests.bench.load import Plan
from tests.bench.processes import BenchError, free_port
from tests.bench.redis_server import Server
from tests.bench.room import CONNECTIONS, SETTLE_S, Meter, Room, Sample

SECTION: Final = "end to end"
DEEDBOX: Final = "Deedbox"
RQ_FORK: Final = "Flask + rq worker x2"
RQ_SIMPLE: Final = "Flask + RQ SimpleWorker x2"
CELERY: Final = "Flask + Celery prefork -c 2"
TASKIQ: Final = "FastAPI + taskiq x2"

LIMIT_S: Final = 60.0
"""No subject gets longer than this for one measurement."""

WARM_UP: Final = 40
"""Callbacks before the measured ones: connections, imports, script caches."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A web process and what works behind its broker."""

    ingress: str
    """Of ``subjects.ingress``."""
    workers: Callable[..., tuple[subjects.Process, ...]]
    blocked: int
    """Clients in a blocking read once all workers are ready."""
    per_s: int
    """What it may be expected to handle; sizes the measurement, nothing else."""


STACKS: Final = {
    DEEDBOX: Stack(subjects.DEEDBOX, subjects.deedbox_workers, 3, 2_000),
    RQ_FORK: Stack(subjects.FLASK_RQ, partial(subjects.rq_worker, fork=True, processes=2), 2, 60),
    RQ_SIMPLE: Stack(subjects.FLASK_RQ, partial(subjects.rq_worker, processes=2), 2, 340),
    CELERY: Stack(subjects.FLASK_CELERY, partial(subjects.celery_worker, processes=2), 1, 500),
    TASKIQ: Stack(subjects.FASTAPI_TASKIQ, partial(subjects.taskiq_worker, processes=2), 2, 1_200),
}
FASTEST_PER_S: Final = max(stack.per_s for stack in STACKS.values())


def measure(room: Room, name: str) -> list[Sample]:
    """Measure one subject once. Raises BenchError if a callback does not arrive at its action, or more than once."""
    stack = STACKS[name]
    with room.redis() as redis:
        port = free_port()
        server = subjects.ingress(room.crew, stack.ingress, redis, port)
        workers = stack.workers(room.crew, redis, probe.settings(room.marks))
        try:
            room.crew.wait_for(name, lambda: listens(port))
            room.crew.wait_for(name, lambda: redis.blocked() >= stack.blocked)
            _offer(room, name, port, 0, WARM_UP)
            time.sleep(SETTLE_S)
            count = int(stack.per_s * room.scale.end_to_end_s)
            web, behind = Meter(redis, server), Meter(redis, *workers)
            values = _offer(room, name, port, WARM_UP, count) | _cpu(
                web.per_1000(count), behind.per_1000(count)
            )
            if stack.ingress == subjects.DEEDBOX:
                values |= _released_once(redis, name, WARM_UP + count)
            return [Sample(SECTION, name, values)]
        finally:
            room.crew.stop(server, *workers)


def _offer(room: Room, name: str, port: int, first: int, count: int) -> dict[str, float]:
    """Send callbacks and wait for the last one's action."""
    plan = Plan(
        port, str(room.lives), keep_alive=False, seconds=LIMIT_S, connections=CONNECTIONS, first=first, count=count
    )  # fmt: skip
    result = room.generator.offer(plan)
    if result.accepted != count:
        raise BenchError(
            f"{name}: only {result.accepted} of {count} callbacks were taken within {LIMIT_S:g} s"
        )
    room.crew.wait_for(name, lambda: first + count in probe.read(room.marks), LIMIT_S)
    took_s = probe.read(room.marks)[first + count] - result.started_at
    return {
        "per_s": count / took_s,
        "events": float(count),
        "took_s": took_s,
        "accepted_per_s": count / result.seconds,
        "generator_cpu_s_per_1000": result.cpu_s / count * 1000,
    }


def _cpu(web: dict[str, float], behind: dict[str, float]) -> dict[str, float]:
    """Return the CPU of each part and of the whole, in seconds per 1,000 events."""
    parts = {
        "ingress_cpu_s_per_1000": web["cpu_s_per_1000"],
        "workers_cpu_s_per_1000": behind["cpu_s_per_1000"],
        "redis_cpu_s_per_1000": behind["redis_cpu_s_per_1000"],
    }
    return parts | {"total_cpu_s_per_1000": sum(parts.values())}


def _released_once(redis: Server, name: str, events: int) -> dict[str, float]:
    """Return what the sequencer counted. Raises BenchError if it released anything but every event once.

    Late ones are released too, after a later event of the same request. A callback may have come twice, if ingress
    spooled what Redis had taken after all; dedupe absorbs it.
    """
    found = {counter: redis.counter(counter) for counter in ("released", "late", "held", "duplicate")}
    if found["released"] + found["late"] != events:
        raise BenchError(f"{name}: {events} events, but {found}")
    return {counter: float(count) for counter, count in found.items()}
