"""Waiting for something to change in Redis, for all waiting clients together.

One thread asks Redis for everybody in one round trip per interval, however many wait. A waiting client costs a
separate thread that sleeps, and those are counted (``Seats``), so that the other threads stay free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis

from deedbox.shared.runtime import logs
from deedbox.shared.runtime.outage import Outage

INTERVAL_S: Final = 0.25
"""An answer comes this much later at most than what it waits for; Redis is asked four times a second."""

MOMENT_S: Final = 0.5
"""How often a waiting client is checked: whether it still listens, and whether the process was told to stop."""

SEATS: Final = 48
"""Clients that may wait at a time: half of the threads of ops."""

Probe = tuple[str, ...]
"""A reading command of Redis."""

_log = logs.get("ops")


class Watch:
    """One client's look at one probe."""

    def __init__(self, probe: Probe, seen: Any) -> None:
        self.probe = probe
        self._seen = seen
        self._news = False
        self._changed = threading.Condition()

    def offer(self, reply: Any) -> None:
        """Take a reply; the threads that wait are woken if it is another one."""
        with self._changed:
            if reply != self._seen:
                self._seen, self._news = reply, True
                self._changed.notify()

    def changed(self, wait_s: float) -> Any:
        """Return the reply once it is another one than before; None if ``wait_s`` passed without."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._news, wait_s):
                return None
            self._news = False
            return self._seen


class Watcher:
    """The thread that asks. It starts with the first client and sleeps while none waits."""

    def __init__(self, redis: Callable[[], Redis], interval_s: float = INTERVAL_S) -> None:
        self._redis = redis
        self._interval_s = interval_s
        self._watches: set[Watch] = set()
        self._some = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, probe: Probe, seen: Any) -> Iterator[Watch]:
        """Watch a probe inside the block. ``seen`` is what the caller read: anything else is news."""
        watch = Watch(probe, seen)
        with self._some:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
                self._thread.start()
            self._some.notify()
        try:
            yield watch
        finally:
            with self._some:
                self._watches.discard(watch)

    @property
    def waiting(self) -> int:
        """How many watch."""
        with self._some:
            return len(self._watches)

    def _run(self) -> None:
        outage = Outage(_log, "watcher.waiting")
        while True:
            with self._some:
                self._some.wait_for(lambda: self._watches)
                watches = tuple(self._watches)
            try:
                self._look(watches)
                outage.ended()
            except Exception as error:  # noqa: BLE001 - without this thread no wait would end before its time
                # Clients wait on: their own time decides, and their last look says what is the matter.
                outage.lasts(error=type(error).__name__)
            time.sleep(self._interval_s)

    def _look(self, watches: tuple[Watch, ...]) -> None:
        probes = tuple(dict.fromkeys(watch.probe for watch in watches))
        pipe = self._redis().pipeline(transaction=False)
        ask: Callable[..., object] = pipe.execute_command
        for probe in probes:
            ask(*probe)
        replies = dict(zip(probes, pipe.execute(), strict=True))
        for watch in watches:
            watch.offer(replies[watch.probe])


class Seats:
    """Bounds how many clients wait at a time."""

    def __init__(self, total: int = SEATS) -> None:
        self.total = total
        self._free = threading.BoundedSemaphore(total)

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Take a seat for the block, if one is free; the value says so."""
        got = self._free.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._free.release()


class Lifetime:
    """Tells whether the process was told to stop; the server that runs the application says how to know."""

    def __init__(self) -> None:
        self.over: Callable[[], bool] = lambda: False


class Patience:
    """How long a client waits: its own time, while it listens and the process is not told to stop."""

    def __init__(
        self,
        seconds: float,
        is_gone: Callable[[], bool],
        lifetime: Lifetime,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._until = monotonic() + seconds
        self._lifetime = lifetime
        self._is_gone = is_gone

    @property
    def left_s(self) -> float:
        """Seconds to wait until the next look; 0 when it is over."""
        left_s = self._until - self._monotonic()
        if left_s <= 0 or self._lifetime.over() or self._is_gone():
            return 0.0
        return min(left_s, MOMENT_S)
