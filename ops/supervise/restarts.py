"""What ended lately under ``deedbox up``, recorded in Redis so that ``status`` and the pages can say it.

The record is written from its own thread: Redis may be the very process that ended.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.supervise.programs import Exit
from deedbox.shared.records.presence import Restart, dump_restart, load_restart
from deedbox.shared.redis import keys

KEPT_S: Final = 600.0
"""After so long without another end, a restart is history."""

_RETRY_S: Final = 2.0


def of_reply(reply: dict[bytes, bytes], now: float) -> list[Restart]:
    """Return the restarts of a HGETALL that are not history yet (``now``: unix seconds), the latest first."""
    recent = [each for stored in reply.values() if (each := load_restart(stored)) and each.at > now - KEPT_S]
    return sorted(recent, key=lambda each: -each.at)


class RestartRecorder:
    """Writes the ends of processes into Redis, as soon as it answers."""

    def __init__(self, redis: Redis, host: str = "") -> None:
        self._redis = redis
        self._host = host or socket.gethostname()
        self._ends: dict[str, Exit] = {}
        self._lock = threading.Lock()

    def note(self, end: Exit) -> None:
        """Remember an end; returns at once."""
        with self._lock:
            self._ends[end.name] = end

    def run(self, stopping: Callable[[float], bool]) -> None:
        """Write what is noted until ``stopping(wait in seconds)`` says so."""
        while not stopping(_RETRY_S):
            self.write()

    def write(self) -> None:
        """Write what is noted; what Redis does not take stays noted."""
        with self._lock:
            ends, self._ends = self._ends, {}
        if not ends:
            return
        try:
            seconds, microseconds = self._redis.time()
            at = seconds + microseconds / 1_000_000
            rows: dict[Any, Any] = {
                f"{self._host}/{name}": dump_restart(self._row(end, at)) for name, end in ends.items()
            }
            pipe = self._redis.pipeline()
            pipe.hset(keys.RESTARTS, mapping=rows)
            pipe.expire(keys.RESTARTS, int(KEPT_S))
            pipe.execute()
        except RedisError:
            with self._lock:
                self._ends = ends | self._ends

    def _row(self, end: Exit, at: float) -> Restart:
        return Restart(self._host, end.name, end.how, end.recent, at, str(end.log or ""))
