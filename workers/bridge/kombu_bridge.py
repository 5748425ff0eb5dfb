"""The bridge of RabbitMQ and SQS: kombu's consumer, whose acknowledgements are real there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from amqp.exceptions import AMQPError
from kombu import Connection, Consumer
from kombu.exceptions import KombuError

from deedbox.shared.broker import sqs, topology
from deedbox.shared.broker.message import encode_kombu
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import inbox
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.runtime import logs
from deedbox.workers.bridge.redis_bridge import BATCH, BATCH_BYTES, LEASE_S, WAIT_S, redrive, report

HEARTBEAT_S: Final = 10.0
"""AMQP: without it a broker whose machine vanished would look like one that has nothing to say."""

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0

_OUTAGES: Final[tuple[type[Exception], ...]] = (Unavailable, OSError, AMQPError, KombuError, *sqs.errors())

log = logs.get("bridge")


class KombuBridge:
    """Consumes from any broker whose acknowledgements are real: RabbitMQ, SQS."""

    def __init__(
        self, bridge_id: str, connect: Callable[[], Connection], state: Scripts, ring: Callable[[str], None]
    ) -> None:
        self._id = bridge_id
        self._connect = connect
        self._state = state
        self._ring = ring
        self._pending: list[Any] = []
        self._beat_at = float("-inf")
        self._wait_s = FIRST_WAIT_S

    def run(self, stopping: Callable[[], bool]) -> None:
        """Bridge until asked to stop; a lost connection is opened again, to the next broker if there are several."""
        while not stopping():
            try:
                with self._connect() as connection:
                    connection.heartbeat = HEARTBEAT_S
                    self._consume(connection, stopping)
            except _OUTAGES as error:
                log.warning("bridge.waiting", error=_said(error), next_in_s=self._wait_s)
                time.sleep(self._wait_s)
                self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    def _consume(self, connection: Connection, stopping: Callable[[], bool]) -> None:
        # Before anything is delivered: a delivery that cannot be handed over counts against the delivery limit,
        # and a Redis that is away, full, or without the replicas that are waited for would send callbacks to the
        # dead-letter queue one by one.
        self._beat(at_once=True)
        topology.declare(connection)
        driver = str(connection.transport.driver_type)
        queue = topology.raw_queue(driver)
        channel = connection.default_channel
        self._pending = []
        # No decoding by kombu: a message of an unknown content type must reach us, not crash the loop.
        with Consumer(
            channel,
            [queue],
            prefetch_count=BATCH,
            on_message=self._pending.append,
            on_decode_error=lambda message, _error: self._pending.append(message),
            accept=None,
        ):
            while not stopping():
                self._drain(connection, bulk=driver == "sqs")
                self._hand_over(multiple=driver == "amqp")
                self._beat()
                redrive(self._state, self._ring)
                self._wait_s = FIRST_WAIT_S

    def _beat(self, *, at_once: bool = False) -> None:
        """Say that this bridge lives. Raises Unavailable if Redis does not take it."""
        now = time.monotonic()
        if at_once or now - self._beat_at >= WAIT_S:
            self._state.call("beat", SERVER_CLOCK, self._id, LEASE_S)
            self._beat_at = now

    def _drain(self, connection: Connection, *, bulk: bool) -> None:
        """Collect what is there: wait for the first, then take whatever comes without a pause.

        ``bulk``: the transport brings up to ten at once (SQS), and asking again would wait for more.
        """
        wait_s: float = WAIT_S
        size = 0
        while len(self._pending) < BATCH and size < BATCH_BYTES:
            before = len(self._pending)
            try:
                connection.drain_events(timeout=wait_s)
            except TimeoutError:
                connection.heartbeat_check()
                return
            if bulk:
                return
            wait_s = 0.002
            size += sum(len(message.body) for message in self._pending[before:])

    def _hand_over(self, *, multiple: bool) -> None:
        if not self._pending:
            return
        load = inbox.Load()
        for message in self._pending:
            _add(load, message)
        ring = inbox.append(self._state, load)
        messages, self._pending[:] = list(self._pending), []
        # AMQP: one acknowledgement for everything up to this delivery tag. kombu's virtual transports: each.
        if multiple:
            messages[-1].ack(multiple=True)
        else:
            for message in messages:
                message.ack()
        report(load, self._ring, ring=ring)


def _said(error: Exception) -> str:
    """Describe an error; a library's own text may name hosts, accounts and queues."""
    return str(error) if isinstance(error, Unavailable) else type(error).__name__


def _add(load: inbox.Load, message: Any) -> None:
    body = message.body
    raw = body.encode() if isinstance(body, str) else bytes(body)
    headers = dict(message.headers or {})
    if message.errors:
        # kombu undoes a compression before it hands the message over; this one it could not undo.
        known = {name: value for name, value in headers.items() if isinstance(value, str | int | float)}
        load.quarantined.append((encode_kombu(known, raw), "a compression that cannot be undone"))
        return
    load.add_parts(headers, raw)
