"""Tells Redis what this host has spooled, and hands it what is in quarantine. Best effort, never in a request.

The sequencer reads it: while a host's spool holds older callbacks, holds do not expire. ``status`` shows it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.ingress.spool import quarantine
from deedbox.ingress.spool.folder import DONE, SpoolDir
from deedbox.ingress.spool.reader import Rest, look
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings

LINGER_S: Final = 3.0
"""After the last callback left the spool, it is still on its way through the broker: so long the mark stays."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the segments of a host hold."""

    bytes: int
    frames: int
    oldest_received_at: float | None
    """Unix seconds; None: nothing is spooled."""
    quarantined: int
    """Files in quarantine that are no dead letters yet."""


class Gauge:
    """Measures a spool; remembers what it counted, so that looking again at an unchanged segment costs nothing."""

    def __init__(self, folder: SpoolDir) -> None:
        self._folder = folder
        self._known: dict[tuple[str, int, int], Rest] = {}

    def usage(self) -> Usage:
        """Look at the folder. Raises OSError."""
        found: dict[tuple[str, int, int], Rest] = {}
        for path in self._folder.segments():
            with suppress(FileNotFoundError):
                mark = (path.name, path.stat().st_size, _changed_at(path.with_suffix(DONE)))
                found[mark] = self._known.get(mark) or look(path)
        self._known = found
        oldest = [rest.oldest_received_at for rest in found.values() if rest.oldest_received_at is not None]
        return Usage(
            bytes=sum(rest.bytes for rest in found.values()),
            frames=sum(rest.frames for rest in found.values()),
            oldest_received_at=min(oldest, default=None),
            quarantined=sum(1 for _ in quarantine.waiting(self._folder)),
        )


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


class Reporter:
    """Keeps this host's entry in Redis up to date. For one thread."""

    def __init__(
        self,
        settings: Settings,
        folder: SpoolDir,
        clock: Callable[[], float] = time.time,
        redis: StateRedis | None = None,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._gauge = Gauge(folder)
        self._redis = redis or StateRedis(settings)
        self._entry: dict[str, Any] | None = None
        """What Redis has of us, as far as we know."""
        self._stale = True
        """Redis may have an entry of this host that is not true any more, for one of a process before us."""
        self._emptied_at: float | None = None

    def report(self, *, at_once: bool = False) -> None:
        """Bring Redis up to date. ``at_once``: do not let an entry linger.

        Raises Unavailable if Redis does not answer within seconds, OSError.
        """
        if not self._folder.exists():
            return
        found = self._gauge.usage()
        for path in quarantine.waiting(self._folder):
            # Once Redis has it as a dead letter, the file does not wait for anybody any more.
            quarantine.hand_over(path, self._redis.durable())
        if found.frames:
            self._emptied_at = None
            self._write(found)
        elif self._stale and (at_once or self._lingered()):
            self._erase()

    def _lingered(self) -> bool:
        now = self._clock()
        if self._emptied_at is None:
            self._emptied_at = now
        # Nothing was written by this process: what is there is of one that died, and nothing is on its way.
        return self._entry is None or not 0 <= now - self._emptied_at < LINGER_S

    def _write(self, found: Usage) -> None:
        self._entry = {
            "bytes": found.bytes,
            "frames": found.frames,
            "oldest_received_at": found.oldest_received_at,
            "seen_at": self._clock(),
        }
        self._stale = True
        self._do("hset", keys.SPOOLS, self._folder.host_id(), json.dumps(self._entry))

    def _erase(self) -> None:
        self._do("hdel", keys.SPOOLS, self._folder.host_id())
        self._entry, self._emptied_at, self._stale = None, None, False

    def _do(self, command: str, *args: str) -> None:
        try:
            getattr(self._redis.client(), command)(*args)
        except RedisError as error:
            raise Unavailable(f"Redis did not take the spool's state ({type(error).__name__})") from None
