"""Doorbells: RQ jobs that say "there is work in this lane". They carry no event."""

from __future__ import annotations

from typing import Final

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import translating

JOB: Final = "deedbox.workers.jobs.drain"
"""The only name that a worker accepts; it is compared and never imported (``deedbox.workers.doorbell``)."""

JOB_TIMEOUT_S: Final = 3600
"""RQ's bound on one doorbell. Ours are shorter: a drain ends after 2 s, a call after its own timeout."""

FAILURE_TTL_S: Final = 300
"""A failed doorbell is worth minutes of attention: the sweeper has long rung again."""


class Bells:
    """Rings lanes. Anyone may ring at any time: a doorbell without work costs one RQ job, a lost one a sweep."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queues: dict[str, Queue] = {}

    def ring(self, lane: str) -> None:
        """Enqueue a doorbell. Raises Unavailable."""
        queue = self._queues.get(lane)
        if queue is None:
            queue = Queue(keys.rq_queue(lane), connection=self._redis, serializer=JSONSerializer)
            self._queues[lane] = queue
        with translating():
            # Without a description, RQ would render the arguments as text.
            queue.enqueue_call(
                JOB, args=(lane,), timeout=JOB_TIMEOUT_S, result_ttl=0, failure_ttl=FAILURE_TTL_S,
                description=f"drain {lane}",
            )  # fmt: skip
