"""The RQ worker that Deedbox runs: one queue, no fork, safe to stop, alive through restarts of Redis.

Measured reasons: the stock worker strands a job on 8 to 25 % of graceful stops, because it raises inside a
Redis call; its CLI dies with Redis; several queues on one worker lose jobs. Forking costs 20 ms a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs
from deedbox.workers.doorbell import Doorbell
from deedbox.workers.lanes.time_limit import StopNow

POLL_S: Final = 1
"""Longest wait for a doorbell before the worker looks whether it was asked to stop."""

HEARTBEAT_EVERY_S: Final = 5.0
WORKER_TTL_S: Final = 60
MAINTENANCE_EVERY_S: Final = 30

FOREIGN_TOLD_S: Final = 600
"""So long after the last foreign job it still needs a person."""

LOG_EVERY_S: Final = 10.0
"""Somebody who writes a million foreign jobs writes no million lines of log."""

log = logs.get("worker")


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's time limit, switched off: its SIGALRM would meet that of the action's own limit."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class DrainWorker(SimpleWorker):
    """Takes doorbells from one lane's queue."""

    death_penalty_class = NoDeathPenalty
    log_result_lifespan = False
    max_connection_wait_time = 1.0
    on_stop: Callable[[], None] = staticmethod(lambda: None)
    _beat_at = 0.0
    _logged_at = float("-inf")

    def request_stop(self, signum: Any, frame: Any) -> None:
        self.on_stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: Any, frame: Any) -> None:
        # RQ's SystemExit may also be an action's own, and is then the action's failure. This one belongs to no action.
        try:
            super().request_force_stop(signum, frame)
        except SystemExit:
            raise StopNow from None

    def _shutdown(self) -> None:
        # Never raise here: the signal may have come in the middle of a Redis call, whose job would be stranded.
        self._stop_requested = True

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        burst = timeout is None
        wait = (None, max_idle_time) if burst else (POLL_S, POLL_S)
        while burst or not self._stop_requested:
            try:
                result = super().dequeue_job_and_maintain_ttl(*wait)
            except ValueError:  # an id that is none: RQ has moved it, and could not read it
                self._drop(self.queues[0])
                continue
            if burst or result is not None:
                return result
        raise StopRequested

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Answer a doorbell of this queue; drop everything else, unread."""
        if _rings(job, queue):
            super().execute_job(job, queue)
        else:
            self._drop(queue, job)

    def run_maintenance_tasks(self) -> None:
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        except RedisError:
            raise
        except Exception:  # noqa: BLE001 - whatever RQ's parsing makes of what somebody wrote into its lists
            for queue in self.queues:
                self._drop(queue)

    def _drop(self, queue: Queue, job: Job | None = None) -> None:
        """Remove what is no doorbell, and count it. Without ``job``: an id in RQ's own lists cannot be read.

        The lists go as a whole then. They only help RQ to find jobs whose worker died, and a lost doorbell is rung again.
        """
        with self.connection.pipeline() as pipe:
            if job is None:
                pipe.delete(queue.intermediate_queue_key, queue.started_job_registry.key)
            else:
                pipe.delete(job.key)
                pipe.lrem(queue.intermediate_queue_key, 1, job.id)
            pipe.hincrby(keys.COUNTERS, "foreign_jobs", 1)
            pipe.hincrby(keys.FOREIGN_JOBS, queue.name.removeprefix(keys.RQ_QUEUE_PREFIX), 1)
            pipe.expire(keys.FOREIGN_JOBS, FOREIGN_TOLD_S)
            pipe.execute()
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            self._logged_at = time.monotonic()
            # Nothing of its content: it is somebody else's text.
            log.error("job.foreign", queue=queue.name)

    @property
    def should_run_maintenance_tasks(self) -> bool:
        # RQ asks this at the start of each turn, the turns of its endless wait for a lost Redis included, and
        # before it takes a job: the one place where leaving strands nothing.
        if self._stop_requested:
            raise StopRequested
        return bool(super().should_run_maintenance_tasks)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        # Three writes after every wake-up are a third of the cost of a job; a minute's TTL needs one in 5 s.
        if self._stop_requested:
            return
        now = time.monotonic()
        if (timeout or 0) > self.worker_ttl + 60 or now - self._beat_at >= HEARTBEAT_EVERY_S:
            self._beat_at = now
            super().heartbeat(timeout, pipeline)


def _rings(job: Job, queue: Queue) -> bool:
    return isinstance(job, Doorbell) and not job.foreign and job.origin == queue.name


def build(lane: str, redis: Redis, name: str, on_stop: Callable[[], None]) -> DrainWorker:
    """Return a worker for one lane. ``on_stop`` runs in the signal handler: it may only set a flag."""
    queue = Queue(keys.rq_queue(lane), connection=redis, serializer=JSONSerializer, job_class=Doorbell)
    worker = DrainWorker(
        [queue],
        name=name,
        connection=redis,
        serializer=JSONSerializer,
        job_class=Doorbell,
        worker_ttl=WORKER_TTL_S,
        maintenance_interval=MAINTENANCE_EVERY_S,
        log_job_description=False,
    )
    worker.on_stop = on_stop
    return worker
