"""Durable on replicas too: a write and Redis's WAIT behind it, on one connection (DEEDBOX_REDIS_WAIT_REPLICAS).

WAIT answers for the server and the connection that it is asked on. Between a write and a separate WAIT, a client may
connect again, to a master that was elected meanwhile and never saw the write, and be told that all is well. So both go
out together, in one pipeline: whatever breaks breaks both, and a retry repeats both.

Only what is acknowledged to somebody outside waits: a callback to its sender (ingress) or to another broker (bridge).
Commits of the sequencer and the lanes need no WAIT: replication is one ordered stream, so a replica has a prefix of
what its master had. A failover rolls commits back together, to a state in which the acknowledged callbacks are
present, and what is done again is done with the same idempotency keys.

A replica confirms what it has in memory; WAIT says nothing about its disk.
"""

from __future__ import annotations

from typing import Any, Final

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import Scripts

PUBLISH_WAIT_S: Final = 0.5
"""In a request's time: a replica beside its master confirms within a millisecond or two."""

BATCH_WAIT_S: Final = 0.8
"""A batch of megabytes takes its time to a replica elsewhere; below the second that a publisher's socket waits."""


class NotReplicated(Unavailable):
    """Redis has the write, but fewer replicas than asked for confirmed it: it counts as not durable."""


def execute(pipe: Pipeline, replicas: int, wait_s: float) -> list[Any]:
    """Run a pipeline's commands, and wait until so many replicas have them. Returns the commands' replies.

    Raises NotReplicated after ``wait_s`` seconds, redis-py's errors.
    """
    if replicas:
        pipe.wait(replicas, int(wait_s * 1000))
    # Not raised by redis-py, whose text would quote the command, and with it the callback.
    replies: list[Any] = pipe.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, RedisError):
            raise reply
    if replicas and (reached := int(replies.pop())) < replicas:
        raise NotReplicated(f"{reached} of {replicas} replicas confirmed")
    return replies


def demand(redis: Redis, replicas: int) -> None:
    """Check that Redis answers and that so many replicas keep up. Raises NotReplicated, redis-py's errors."""
    pipe = redis.pipeline(transaction=False)
    pipe.ping()
    execute(pipe, replicas, PUBLISH_WAIT_S)


class ReplicatedScripts(Scripts):
    """Scripts whose every call returns only after so many replicas have what it wrote."""

    def __init__(self, redis: Redis, replicas: int) -> None:
        super().__init__(redis)
        self._replicas = replicas

    def call(self, name: str, *args: str | bytes | float) -> Any:
        """Run a script. Raises NotReplicated, and Unavailable like all scripts; it may have run all the same."""
        if not self._replicas:
            return super().call(name, *args)
        pipe = self.redis.pipeline(transaction=False)
        try:
            self._scripts[name](args=args, client=pipe)
            return execute(pipe, self._replicas, BATCH_WAIT_S)[0]
        except RedisError as error:
            raise translated(error) from error
