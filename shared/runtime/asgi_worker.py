"""gunicorn's ASGI worker, with bounds on its connections: how many, and how long one may take to begin a request.

gunicorn's own worker waits for the first request of a connection for ever, and its ``worker_connections`` bounds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi
from gunicorn.workers.gasgi import ASGIWorker

from deedbox.shared.runtime.front import RECEIVE_S

CLOSE_EVERY_S: Final = 1.0
"""A process that stops closes connections that had no request for so long."""


class BoundedWorker(ASGIWorker):  # type: ignore[misc]
    """Closes connections that are late, and above ``worker_connections`` one for each that comes."""

    def init_process(self) -> None:
        """Begin to serve, in the process of the worker."""
        self.open: dict[Connection, float] = {}
        """Since when (monotonic seconds), the oldest first."""
        gasgi.ASGIProtocol = Connection  # gunicorn has no setting for it
        # As attributes: gunicorn computes what a setting is each time it asks, a dozen times for every connection.
        self.cfg.__dict__.update((name, setting.get()) for name, setting in self.cfg.settings.items())
        # gunicorn notes on the class that asks whether its parser in C is there, and looks for the note on its own class.
        ASGIProtocol._check_h1c_protocol_available()  # noqa: SLF001
        super().init_process()

    def notify(self) -> None:
        """Tell the master that this process lives; called once a second."""
        super().notify()
        late = time.monotonic() - RECEIVE_S
        for connection in [each for each, since in self.open.items() if since < late and each.is_new]:
            connection.close()

    def handle_exit_signal(self) -> None:
        """Begin to stop: a connection that only waits for its next request does not hold this process up."""
        super().handle_exit_signal()
        self._close_idle({})

    def _close_idle(self, before: dict[Connection, int]) -> None:
        """Close what was idle at the look before and had no request since: who sends just now is still answered."""
        idle = {each: each.req_count for each in self.open if each.is_idle}
        for connection, count in idle.items():
            if before.get(connection) == count:
                connection.close()
        self.loop.call_later(CLOSE_EVERY_S, self._close_idle, idle)

    def opened(self, connection: Connection) -> None:
        """Note a connection, and make room for it: of those that wait for a request, the oldest new one, or the oldest."""
        self.open[connection] = time.monotonic()
        if len(self.open) > self.worker_connections:
            victim = next(self._idle(new=True), None) or next(self._idle(new=False), connection)
            victim.close()

    def _idle(self, *, new: bool) -> Iterator[Connection]:
        return (each for each in self.open if each.is_idle and each.is_new is new)


class Connection(ASGIProtocol):  # type: ignore[misc]
    """A connection that its worker knows of."""

    worker: BoundedWorker
    _body_receiver: Any
    _has_ended = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return bool(self._awaiting_request)

    @property
    def is_new(self) -> bool:
        """Whether it waits for its first request."""
        return self.is_idle and self.req_count == 1

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        super().connection_made(transport)
        self.worker.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.worker.open.pop(self, None)
        super().connection_lost(exc)
        if self._task is not None and self._task.done():
            # Both refer back to this connection, which would stay until a collection: they are rare, and take long.
            self._callback_parser = self._body_receiver = None

    def eof_received(self) -> bool:
        """Answer a sender that has closed its side; asyncio alone would close ours. Returns whether it stays open."""
        self._has_ended = True
        receiver = self._body_receiver
        if receiver is None:
            return False
        # What has come and is not read yet is still read; after that the application learns that there is no more.
        if receiver._body_finished or not receiver._complete:  # noqa: SLF001 - it has no other way to tell
            receiver.signal_disconnect()
        return True

    def _arm_keepalive_timer(self) -> None:
        if self._has_ended:
            self.close()
        else:
            super()._arm_keepalive_timer()

    def close(self) -> None:
        """Close it; a task that waits for a request on it gets an error."""
        self._close_transport()
        if self._request_ready is not None:
            self._request_ready.set()
