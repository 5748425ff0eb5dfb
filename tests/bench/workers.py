"""Workers: events per second and CPU per 1,000 from a pre-filled broker, with an action that does nothing.

Deedbox does more per event than the peers, who neither deduplicate nor order: every callback is stored, checked
against what was seen, put in order and written to a timeline. It is measured whole (four processes on these cores)
and stage by stage, one process at a time, which gives what one process can do at most.

Not measured: actions that do something, retries, duplicates, disorder, more than one process of a kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from deedbox.shared.core.identity import SHARDS
from deedbox.shared.redis import keys
from deedbox.shared.redis.doorbells import Bells
from tests.bench import prefill, probe, subjects
from tests.bench.processes import BenchError
from tests.bench.redis_server import Server
from tests.bench.room import SETTLE_S, Meter, Room, Sample

SECTION: Final = "workers"
WHOLE: Final = "Deedbox, whole pipeline"
BRIDGE: Final = "Deedbox, bridge only"
SEQUENCER: Final = "Deedbox, sequencer only"
LANE: Final = "Deedbox, lane only"
ONE_PROCESS: Final = "Deedbox, one process (sum)"
RQ_FORK: Final = "rq worker (forks)"
RQ: Final = "RQ SimpleWorker"
CELERY: Final = "Celery prefork -c 1"
TASKIQ: Final = "taskiq, list (no ack)"

LIMIT_S: Final = 60.0
"""No subject gets longer than this for one measurement."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Whose broker is filled, and who works behind it."""

    subject: str
    """Of ``subjects.BLOCKED`` and ``prefill``."""
    consumers: Callable[..., tuple[subjects.Process, ...]]
    per_s: int
    """What it may be expected to handle; sizes the measurement, nothing else."""


QUEUES: Final = {
    WHOLE: Queue(subjects.DEEDBOX, subjects.deedbox_workers, 8_000),
    RQ_FORK: Queue(subjects.FLASK_RQ, partial(subjects.rq_worker, fork=True), 60),
    RQ: Queue(subjects.FLASK_RQ, subjects.rq_worker, 300),
    CELERY: Queue(subjects.FLASK_CELERY, subjects.celery_worker, 800),
    TASKIQ: Queue(subjects.FASTAPI_TASKIQ, subjects.taskiq_worker, 2_500),
}
FASTEST_PER_S: Final = max(queue.per_s for queue in QUEUES.values())


def measure_queue(room: Room, name: str) -> list[Sample]:
    """Measure all consumers of one subject together, from the hand-over to the last call of the action."""
    subject = QUEUES[name].subject
    events = _events(room, name)
    with room.redis() as redis:
        empty_bytes = prefill.kept_bytes(redis.client)
        prefill.fill(redis, subject, tuple(room.life_texts[:events]))
        consumers = QUEUES[name].consumers(room.crew, redis, probe.settings(room.marks))
        try:
            room.crew.wait_for(name, lambda: redis.blocked() >= subjects.BLOCKED[subject])
            time.sleep(SETTLE_S)
            meter, started = Meter(redis, *consumers), time.time()
            prefill.hand_over(redis, subject)
            room.crew.wait_for(name, lambda: events in probe.read(room.marks), LIMIT_S)
            took_s = probe.read(room.marks)[events] - started
            values = meter.per_1000(events) | {"per_s": events / took_s, "events": float(events)}
            # The last commit comes after the last call.
            time.sleep(SETTLE_S)
            values["kept_bytes"] = (prefill.kept_bytes(redis.client) - empty_bytes) / events
            if name == WHOLE:
                values |= _counters(redis, events)
            return [Sample(SECTION, name, values)]
        finally:
            room.crew.stop(*consumers)


def _events(room: Room, name: str) -> int:
    return int(QUEUES[name].per_s * room.scale.workers_s)


def _counters(redis: Server, events: int) -> dict[str, float]:
    """Return what the sequencer counted. Raises BenchError if it released anything but every event once."""
    found = {name: redis.counter(name) for name in ("released", "late", "held", "duplicate", "action_done")}
    if found["released"] != events or found["duplicate"]:
        raise BenchError(f"{WHOLE}: {events} events, but {found}")
    return {name: float(count) for name, count in found.items()}


def measure_stages(room: Room) -> list[Sample]:
    """Measure Deedbox's three stages one after the other, each with one process and nothing else beside Redis."""
    events = _events(room, WHOLE)
    samples: list[Sample] = []
    with room.redis() as redis:
        prefill.fill(redis, subjects.DEEDBOX, tuple(room.life_texts[:events]))
        probing = probe.settings(room.marks)

        def stage(
            name: str, process: subjects.Process, go: Callable[[], object], done: Callable[[], bool]
        ) -> None:
            try:
                room.crew.wait_for(name, lambda: redis.blocked() >= 1)
                time.sleep(SETTLE_S)
                meter, started = Meter(redis, process), time.time()
                go()
                room.crew.wait_for(name, done, LIMIT_S, pause_s=0.01)
                took_s = time.time() - started
                values = meter.per_1000(events) | {"per_s": events / took_s, "events": float(events)}
                samples.append(Sample(SECTION, name, values))
            finally:
                room.crew.stop(process)

        stage(
            BRIDGE,
            subjects.deedbox_bridge(room.crew, redis),
            lambda: prefill.hand_over(redis, subjects.DEEDBOX),
            lambda: not redis.client.exists(keys.RAW_QUEUE) and inbox_length(redis) == events,
        )
        for name, lane, counter in (
            (SEQUENCER, keys.SEQUENCER, "released"),
            (LANE, "default", "action_done"),
        ):
            _park(redis, lane)
            stage(
                name,
                subjects.deedbox_worker(room.crew, redis, lane, probing),
                partial(_unpark, redis, lane),
                partial(_counted, redis, counter, events),
            )
    return [*samples, _sum(samples)]


def _sum(stages: list[Sample]) -> Sample:
    """Return what one process would do that did all three stages in turn: the times per event add up."""
    values = {
        name: sum(each.values[name] for each in stages)
        for name in ("cpu_s_per_1000", "redis_cpu_s_per_1000", "total_cpu_s_per_1000")
    }
    values["per_s"] = 1 / sum(1 / each.values["per_s"] for each in stages)
    return Sample(SECTION, ONE_PROCESS, values)


def _park(redis: Server, lane: str) -> None:
    """Hide a lane's work, so that its worker can start and find nothing yet."""
    for ready in redis.client.scan_iter(keys.action("*", "ready")):
        redis.client.rename(ready, prefill.PARKED + ready.decode())
    redis.client.delete("rq:queue:" + keys.rq_queue(lane), keys.lane(lane, "idle"), keys.lane(lane, "bell"))


def _unpark(redis: Server, lane: str) -> None:
    for parked in redis.client.scan_iter(prefill.PARKED + keys.action("*", "ready")):
        redis.client.rename(parked, parked.decode().removeprefix(prefill.PARKED))
    Bells(redis.client).ring(lane)


def inbox_length(redis: Server) -> int:
    """Return how many callbacks wait in the inbox, over all shards."""
    pipeline = redis.client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipeline.llen(keys.inbox(shard))
    return sum(pipeline.execute())


def _counted(redis: Server, name: str, events: int) -> bool:
    return redis.counter(name) == events
