"""A connection to the broker's Redis for an event loop: it sends a batch, and no thread waits for the answer.

A thread that publishes and the loop that serves contend for the interpreter several times a callback, which costs more
than the publish. Here the loop writes one command to a connection of redis-py and goes on; the answer
makes the socket readable. Steps that can block (names, connecting, TLS, WAIT) stay with the threads and ``Publisher``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from deedbox.shared.broker.brokers import broker_address, open_broker
from deedbox.shared.broker.errors import cause
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings

LINE_BYTES: Final = 32 * 1024
"""Most that one batch may have: it fits into the socket's buffers, so that writing it never waits for Redis."""


class RedisPipe:
    """One open connection. Not for threads but the one that opened it and then the loop's; one batch at a time."""

    def __init__(self, redis: Any, stream: socket.socket) -> None:
        self._redis = redis
        self.fileno = stream.fileno()
        """Becomes readable when Redis has answered, or is gone."""

    @classmethod
    def open(cls, connect: Callable[[], Any]) -> Self | None:
        """Connect; may take a second. Returns None where a line cannot be had. Raises Unavailable."""
        redis = connect()
        # As kombu's own event loop does: redis-py has no name for it.
        stream = redis._sock  # noqa: SLF001
        if type(stream) is not socket.socket:  # TLS: readable does not mean that there is an answer
            redis.disconnect()
            return None
        return cls(redis, stream)

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Send a batch of at most ``LINE_BYTES``; one command, one fsync. Raises Unavailable."""
        messages = [encode_kombu(envelope.headers(), envelope.body) for envelope in envelopes]
        try:
            command = self._redis.pack_command("LPUSH", keys.RAW_QUEUE, *messages)
            self._redis.send_packed_command(command, check_health=False)
        except Exception as error:  # noqa: BLE001 - see above
            raise Unavailable(f"the broker did not take it ({cause(error)})") from None

    def answer(self) -> None:
        """Read the answer to the batch; returns if Redis has it all. Only once readable. Raises Unavailable."""
        try:
            # The loop has to forget the descriptor before it is closed: its number may then be anybody's.
            self._redis.read_response(disconnect_on_error=False)
        except Exception as error:  # noqa: BLE001 - see above
            raise Unavailable(f"the broker did not confirm ({cause(error)})") from None

    def close(self) -> None:
        """Let go of the connection; never waits."""
        self._redis.disconnect()


def opener(settings: Settings) -> Callable[[], RedisPipe | None] | None:
    """Return what opens lines to the broker of these settings; None where none can be had. Raises SettingsError."""
    connect = open_broker(broker_address(settings), wait_replicas=settings.redis_wait_replicas).line()
    return None if connect is None else lambda: RedisPipe.open(connect)
