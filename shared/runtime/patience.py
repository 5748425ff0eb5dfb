"""A gunicorn worker whose patience with a sender ends: so many seconds for a request to arrive, then it is cut off.

gunicorn's threads wait for a sender that has begun a request for as long as it drips bytes, and its ``timeout``
watches the process, not the request: as many slow senders as there are threads would stop everybody else.

And it takes no more connections than it can serve: gunicorn's would take all that come at once and let them wait for
its threads, while the threads of the process beside it have nothing to do.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

from deedbox.shared.runtime import logs

RECEIVE_S: Final = 15.0
"""Seconds from a thread's first look at a connection to the last byte of the request. A callback is some kilobytes;
Dropbox Sign itself waits 25 s for the answer, and ours takes 2 s at most once the request is there."""

_LOOK_EVERY_S: Final = 0.25

log = logs.get("server")


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker, with a bound on the time that a request takes to arrive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._until: dict[Any, float] = {}
        """Connections that threads are busy with, and until when they may be read from (monotonic)."""
        self._looked_at = 0.0
        self._under_way = 0
        """Requests that threads are busy with, or that wait for one. Only the main loop touches it."""

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - gunicorn calls it so
        """Accept connections or leave them to other processes. The main loop asks for it whenever we do not."""
        super().set_accept_enabled(enabled and self._under_way < self.cfg.threads)

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection to the threads."""
        self._under_way += 1
        super().enqueue_req(conn)
        if self._accepting and self._under_way >= self.cfg.threads:
            super().set_accept_enabled(False)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Take a connection back from the threads."""
        self._under_way -= 1
        super().finish_request(conn, fs)

    def handle(self, conn: Any) -> Any:
        """Handle one request. Runs in a thread."""
        self._until[conn] = time.monotonic() + RECEIVE_S
        try:
            return super().handle(conn)
        finally:
            self._until.pop(conn, None)

    def notify(self) -> None:
        """Tell the master that this process lives; the main loop calls this at least once a second.

        And several times for each request, which is more often than anybody looks.
        """
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        super().notify()
        self._looked_at = now
        for conn, until in self._until.copy().items():
            if until < now and self._until.pop(conn, None) is not None:
                _cut_off(conn)


def _cut_off(conn: Any) -> None:
    """End the reading side only: a request that is there already still gets its answer."""
    log.warning("request.cut_off", after_s=RECEIVE_S)
    with suppress(OSError):  # it ended by itself just now
        conn.sock.shutdown(socket.SHUT_RD)
