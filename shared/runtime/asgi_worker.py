"""gunicorn's ASGI worker, with bounds on its connections: how many, and how long one may take to begin a request.

gunicorn's own worker waits for the first request of a connection for ever, and its ``worker_connections`` bounds nothing.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import Any, Final

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi
from gunicorn.workers.gasgi import ASGIWorker

from deedbox.shared.runtime.front import RECEIVE_S

CLOSE_EVERY_S: Final = 1.0
"""A process that stops closes connections that had no request for so long."""


class BoundedWorker(ASGIWorker):  # type: ignore[misc]
    """Closes connections that are late, and above ``worker_connections`` one for each that comes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what gunicorn gives."""
        super().__init__(*args, **kwargs)
        self.new: dict[Connection, float] = {}
        """Connections that had no request yet, and since when they are open (monotonic seconds): the oldest first."""
        self.kept: dict[Connection, float] = {}
        """Those that wait for their next request, and since when: the longest idle first."""

    def init_process(self) -> None:
        """Begin to serve, in the process of the worker."""
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
        for connection in [each for each, since in self.new.items() if since < late]:
            connection.close()

    def handle_exit_signal(self) -> None:
        """Begin to stop: a connection that only waits for its next request does not hold this process up."""
        super().handle_exit_signal()
        self._close_idle(0.0)

    def _close_idle(self, before: float) -> None:
        """Close what has been idle since the look before: who sends just now is still answered."""
        for connection in [
            each for each, since in chain(self.new.items(), self.kept.items()) if since < before
        ]:
            connection.close()
        self.loop.call_later(CLOSE_EVERY_S, self._close_idle, time.monotonic())

    def opened(self, connection: Connection) -> None:
        """Note a connection, and make room for it: the oldest new one that waits for a request, or the longest idle one."""
        self.new[connection] = time.monotonic()
        if self.nr_conns > self.worker_connections:
            next((each for each in chain(self.new, self.kept) if each.is_idle), connection).close()


class Connection(ASGIProtocol):  # type: ignore[misc]
    """A connection that its worker knows of."""

    worker: BoundedWorker
    _body_receiver: Any
    _has_ended = False

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return bool(self._awaiting_request)

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        super().connection_made(transport)
        self.worker.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
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
            self.worker.kept[self] = time.monotonic()

    def _cancel_keepalive_timer(self) -> None:
        """Note that it waits no more: a request has come, or its end."""
        super()._cancel_keepalive_timer()
        self.worker.new.pop(self, None)
        self.worker.kept.pop(self, None)

    def close(self) -> None:
        """Close it; a task that waits for a request on it gets an error."""
        self._cancel_keepalive_timer()  # now: its end comes later, and it must not be closed twice to make room
        self._close_transport()
        if self._request_ready is not None:
            self._request_ready.set()
