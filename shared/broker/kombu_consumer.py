"""The consumer of brokers whose acknowledgements are real, RabbitMQ and SQS: kombu's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from amqp.exceptions import AMQPError
from kombu import Connection, Consumer, Queue
from kombu.exceptions import KombuError

from deedbox.shared.broker.errors import cause
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.broker.port import BATCH, BATCH_BYTES, WAIT_S
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.inbox import Load
from deedbox.shared.redis.script_calls import RawClaim

NO_PAUSE_S: Final = 0.002
"""What comes within so long of the callback before belongs to its batch."""


class KombuConsumer:
    """One connection's consumer of the raw queue."""

    claim: RawClaim | None = None

    def __init__(
        self,
        connect: Callable[[], Connection],
        declare: Callable[[Connection], None],
        queue: Queue,
        *,
        prefetch: int = BATCH,
        multiple: bool = False,
        bulk: bool = False,
        errors: tuple[type[Exception], ...] = (),
    ) -> None:
        """Connect and consume. Raises Unavailable.

        ``multiple``: one acknowledgement is for everything before it (AMQP). ``bulk``: the transport brings up to ten
        at once, and asking again would wait for more (SQS). ``errors``: what its library raises.
        """
        self._multiple, self._bulk = multiple, bulk
        self._errors = (OSError, AMQPError, KombuError, *errors)
        self._most = min(BATCH, prefetch)
        self._pending: list[Any] = []
        """What came in; kombu's callback appends to it."""
        self._taken: list[Any] = []
        self._connection: Any = None
        try:
            self._connection = connect()
            declare(self._connection)
            # No decoding by kombu: a message of an unknown content type must reach us, not crash the loop.
            self._consumer = Consumer(
                self._connection.default_channel,
                [queue],
                prefetch_count=prefetch,
                on_message=self._pending.append,
                on_decode_error=lambda message, _error: self._pending.append(message),
                accept=None,
                auto_declare=False,
            )
            self._consumer.consume()
        except self._errors as error:
            self.close()
            raise Unavailable(f"the broker cannot be reached ({cause(error)})") from None

    def take(self, load: Load) -> int:
        """Collect what is there: wait for the first, then take whatever comes without a pause."""
        if not self._taken:
            try:
                self._collect()
            except self._errors as error:
                raise Unavailable(f"the broker stopped answering ({cause(error)})") from None
            self._taken, self._pending[:] = list(self._pending), []
        for message in self._taken:
            _add(load, message)
        return 0

    def _collect(self) -> None:
        wait_s = NO_PAUSE_S if self._pending else float(WAIT_S)
        size = 0
        while len(self._pending) < self._most and size < BATCH_BYTES:
            before = len(self._pending)
            try:
                self._connection.drain_events(timeout=wait_s)
            except TimeoutError:
                self._connection.heartbeat_check()
                return
            if self._bulk:
                return
            wait_s = NO_PAUSE_S
            size += sum(len(message.body) for message in self._pending[before:])

    def done(self) -> None:
        """Acknowledge what was taken: on AMQP at once, by the last one's number."""
        messages, self._taken = self._taken, []
        try:
            if self._multiple and messages:
                messages[-1].ack(multiple=True)
            elif not self._multiple:
                for message in messages:
                    message.ack()
        except self._errors as error:
            raise Unavailable(f"the broker took no acknowledgement ({cause(error)})") from None

    def keep(self) -> None:
        """Answer heartbeats. What comes in meanwhile, up to the prefetch, is for the next batch."""
        until = time.monotonic() + WAIT_S
        try:
            while (left_s := until - time.monotonic()) > 0:
                try:
                    self._connection.drain_events(timeout=left_s)
                except TimeoutError:
                    break
            self._connection.heartbeat_check()
        except self._errors as error:
            raise Unavailable(f"the broker stopped answering ({cause(error)})") from None

    def close(self) -> None:
        """Let go of the connection: what is not acknowledged is delivered again, to whichever bridge lives."""
        if self._connection is not None:
            self._connection.collect()


def _add(load: Load, message: Any) -> None:
    raw = _raw(message)
    headers = dict(message.headers or {})
    if message.errors:
        # kombu undoes a compression before it hands the message over; this one it could not undo.
        load.quarantined.append((encode_kombu(_plain(headers), raw), "a compression that cannot be undone"))
        return
    load.add_parts(headers, raw)


def in_kombus_form(message: Any) -> bytes:
    """Return a message as kombu's Redis transport stores it, without RabbitMQ's own account of its death."""
    return encode_kombu(_plain(message.headers), _raw(message))


def _raw(message: Any) -> bytes:
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def _plain(headers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if isinstance(value, str | int | float)}
