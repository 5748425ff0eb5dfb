"""Lends a process's connections to a broker to its threads: bounded in number, opened when needed, fork-safe.

An AMQP connection inherited through ``fork`` would hang parent and child alike. The pool is ours, not kombu's global one,
whose limit is a setting of the application that we may be mounted in, and whose idle connections would stay open.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import kombu
from amqp.exceptions import ConnectionError as AmqpConnectionError

from deedbox.shared.broker.errors import RefusedForCause, cause, refuses_for_cause
from deedbox.shared.core.errors import Unavailable

ACQUIRE_TIMEOUT_S: Final = 0.3
"""Longest wait for a connection. With as many as threads, none waits."""

DEFAULT_LIMIT: Final = 64
"""Connections per process when the number of threads is not known; they are made when first needed."""

TEND_EVERY_S: Final = 2.0
IDLE_S: Final = 60.0
"""A connection that was not used for so long is closed."""

_T = TypeVar("_T")


@dataclass(slots=True)
class Lent:
    """A connection, and what its broker keeps beside it."""

    connection: kombu.Connection
    used_at: float
    kept: dict[str, Any] = field(default_factory=dict)


class Connections:
    """The connections of one broker in this process."""

    def __init__(
        self,
        connect: Callable[[], kombu.Connection],
        limit: int = DEFAULT_LIMIT,
        tend: Callable[[kombu.Connection], None] | None = None,
    ) -> None:
        """``connect``: opens one. ``tend``: keeps an idle one alive, called every ``TEND_EVERY_S``; raises if it is lost."""
        self._connect = connect
        self._limit = limit
        self._tend = tend
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self._limit)
        self._idle: deque[Lent] = deque()
        self._tending: threading.Thread | None = None

    def use(self, do: Callable[[Lent], _T]) -> _T:
        """Do something with a connection. Whatever goes wrong becomes Unavailable, and the connection is discarded.

        Discarded always: py-amqp takes any ack for the confirm that it waits for, so on a connection whose confirm timed
        out, the late ack would confirm the next message. A connection that was closed while it was idle is replaced once.
        """
        if self._pid != os.getpid():
            self._start_anew()
        slots = self._slots
        if not slots.acquire(timeout=ACQUIRE_TIMEOUT_S):
            raise Unavailable("all connections to the broker are busy")
        try:
            lent = self._taken()
            if lent is not None:
                try:
                    return self._with(lent, do)
                except (AmqpConnectionError, OSError) as error:
                    if isinstance(error, TimeoutError):
                        raise
            return self._with(Lent(self._connect(), 0.0), do)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - transports raise whatever their client library raises
            if refuses_for_cause(error):
                raise RefusedForCause(f"the broker refuses this callback ({cause(error)})") from None
            raise Unavailable(f"the broker did not confirm ({cause(error)})") from None
        finally:
            slots.release()

    def _taken(self) -> Lent | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _with(self, lent: Lent, do: Callable[[Lent], _T]) -> _T:
        try:
            result = do(lent)
        except BaseException:
            lent.connection.collect()
            raise
        lent.used_at = time.monotonic()
        with self._lock:
            self._idle.append(lent)
        if self._tend is not None and self._tending is None:
            self._start_tending(self._tend)
        return result

    def close(self) -> None:
        """Close the idle connections; those in use are kept, and a later use opens others."""
        with self._lock:
            idle, self._idle = self._idle, deque()
        for lent in idle:
            lent.connection.collect()

    def _start_tending(self, tend: Callable[[kombu.Connection], None]) -> None:
        with self._lock:
            if self._tending is None:
                self._tending = threading.Thread(
                    target=self._tend_for_ever, args=(tend, self._pid), name="deedbox-heartbeat", daemon=True
                )
                self._tending.start()

    def _tend_for_ever(self, tend: Callable[[kombu.Connection], None], pid: int) -> None:
        while self._pid == pid:
            time.sleep(TEND_EVERY_S)
            for _ in range(len(self._idle)):
                with self._lock:
                    lent = self._idle.popleft() if self._idle else None
                if lent is None:
                    break
                if time.monotonic() - lent.used_at > IDLE_S:
                    with suppress(Exception):
                        lent.connection.release()
                    continue
                try:
                    tend(lent.connection)
                except Exception:  # noqa: BLE001 - it is lost, however that shows
                    lent.connection.collect()
                    continue
                with self._lock:
                    self._idle.append(lent)
