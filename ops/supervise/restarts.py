"""What ended lately under ``deedbox up``, recorded in Redis so that ``status`` and the pages can say it.

The record is written from its own thread: Redis may be the very process that ended.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.supervise.programs import Exit
from deedbox.shared.redis import keys

KEPT_S: Final = 600.0
"""After so long without another end, a restart is history."""

_RETRY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Restart:
    """A process of a host that ended without having been told to, and was started again."""

    host: str
    process: str
    how: str
    """Its exit status or signal, in words."""
    count: int
    """How often it ended in the minute before ``at``, that time included."""
    at: float
    """Unix seconds of its last end, Redis's clock."""
    log: str = ""
    """File in which it says why; empty: in the output of ``deedbox up``."""

    def dump(self) -> str:
        """Return the stored form."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, stored: bytes) -> Self | None:
        """Inverse of ``dump``; None for what is not readable."""
        try:
            found: dict[str, Any] = json.loads(stored)
            return cls(
                str(found["host"]), str(found["process"]), str(found["how"]), int(found["count"]),
                float(found["at"]), str(found["log"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return None


def of_reply(reply: dict[bytes, bytes], now: float) -> list[Restart]:
    """Return the restarts of a HGETALL that are not history yet (``now``: unix seconds), the latest first."""
    found = (Restart.load(stored) for stored in reply.values())
    recent = [each for each in found if each is not None and each.at > now - KEPT_S]
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
                f"{self._host}/{name}": self._row(end, at).dump() for name, end in ends.items()
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
