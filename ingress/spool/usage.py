"""Tells Redis what this host has spooled, and hands it what was set aside. Best effort, never in a request.

The sequencer reads it: while a host's spool holds older callbacks, holds do not expire. ``status`` shows it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.ingress.spool.database import Database
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.quarantine import Quarantine
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.records import spool_mark
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings

LINGER_S: Final = 3.0
"""After the last callback left the spool, it is still on its way through the broker: so long the mark stays."""

_TOTALS: Final = """
SELECT callbacks - (SELECT count(*) FROM aside),
       bytes - (SELECT coalesce(sum(length(entry)), 0) FROM aside JOIN callbacks USING (id)),
       (SELECT received_at FROM callbacks WHERE id NOT IN (SELECT id FROM aside) ORDER BY received_at LIMIT 1),
       (SELECT count(*) FROM aside)
FROM totals
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a host has spooled."""

    bytes: int
    callbacks: int
    oldest_received_at: float | None
    """Unix seconds; None: nothing is spooled."""
    quarantined: int
    """Callbacks that were set aside, not counted above."""


class Gauge:
    """Measures a spool."""

    def __init__(self, folder: SpoolDir) -> None:
        self._folder = folder
        self._database = Database(folder)

    def usage(self) -> Usage:
        """Look at the spool. Raises OSError."""
        if not self._folder.exists():
            return Usage(0, 0, None, 0)
        with self._database.reading() as connection:
            callbacks, size, oldest, aside = connection.execute(_TOTALS).fetchone()
        return Usage(size, callbacks, oldest, aside)

    def close(self) -> None:
        """Let go of the spool; a later look opens it again."""
        self._database.close()


class Reporter:
    """Keeps this host's mark in Redis up to date. For one thread."""

    def __init__(
        self,
        settings: Settings,
        folder: SpoolDir,
        clock: Callable[[], float] = time.monotonic,
        redis: StateRedis | None = None,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._gauge = Gauge(folder)
        self._limit_bytes = settings.spool_max_bytes
        self._quarantine = Quarantine(folder)
        self._redis = redis or StateRedis(settings)
        self._marked = False
        """This process wrote the mark that Redis has."""
        self._stale = True
        """Redis may have a mark of this host that is not true any more, for one of a process before us."""
        self._emptied_at: float | None = None

    def report(self, *, at_once: bool = False) -> None:
        """Bring Redis up to date. ``at_once``: do not let a mark linger.

        Raises Unavailable if Redis does not answer within seconds, OSError.
        """
        if not self._folder.exists():
            return
        found = self._gauge.usage()
        if found.callbacks and found.oldest_received_at is not None:
            self._emptied_at = None
            self._mark(found.callbacks, found.bytes, found.oldest_received_at)
        elif self._stale and (at_once or self._lingered()):
            self._erase()
        if found.quarantined:
            self._quarantine.hand_over(self._redis.durable())

    def close(self) -> None:
        """Let go of the spool."""
        self._gauge.close()
        self._quarantine.close()

    def _lingered(self) -> bool:
        now = self._clock()
        if self._emptied_at is None:
            self._emptied_at = now
        # Nothing was written by this process: what is there is of one that died, and nothing is on its way.
        return not self._marked or now - self._emptied_at >= LINGER_S

    def _mark(self, callbacks: int, size_bytes: int, oldest: float) -> None:
        self._stale = self._marked = True
        redis: Any = self._redis.client()
        try:
            seconds, microseconds = redis.time()
            now = seconds + microseconds / 1_000_000
            mark = spool_mark.SpoolMark(
                socket.gethostname(), callbacks, size_bytes, self._limit_bytes, oldest, now
            )
            redis.hset(keys.SPOOLS, self._folder.host_id(), spool_mark.dump(mark))
        except RedisError as error:
            raise _not_taken(error) from None

    def _erase(self) -> None:
        try:
            self._redis.client().hdel(keys.SPOOLS, self._folder.host_id())
        except RedisError as error:
            raise _not_taken(error) from None
        self._marked, self._emptied_at, self._stale = False, None, False


def _not_taken(error: RedisError) -> Unavailable:
    return Unavailable(f"Redis did not take the spool's state ({type(error).__name__})")
