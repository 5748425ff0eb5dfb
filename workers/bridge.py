"""The bridge: moves raw callbacks from the broker into the inbox, in batches, and decides nothing.

It acks the broker last; where the broker is not the state's Redis, its scripts wait for replicas (shared/replicas.py),
because then no replication stream holds both the callback and what becomes of it. A crash before the ack repeats the batch, and the fingerprint absorbs the repeats. What
cannot be decoded is set aside as a dead letter in the same call: never dropped, never a crash loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, cast

from amqp.exceptions import AMQPError
from kombu import Connection, Consumer
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from shared import inbox, keys, logs, topology
from shared.connections import translated
from shared.core.envelope import encode_kombu
from shared.core.errors import Unavailable
from shared.scripting import SERVER_CLOCK, Scripts

BATCH: Final = 250
BATCH_BYTES: Final = 4 * 1024 * 1024
LEASE_S: Final = 10.0
"""How long a bridge's claim lasts without another round: a crash delays its callbacks by this at most."""

WAIT_S: Final = 1
"""Longest wait for a callback before the bridge looks around: stop requests, dead bridges, redrives."""

HEARTBEAT_S: Final = 10.0
"""AMQP: without it a broker whose machine vanished would look like one that has nothing to say."""

_OUTAGES: Final[tuple[type[Exception], ...]] = (Unavailable, OSError, AMQPError, KombuError)

log = logs.get("bridge")


class RedisBridge:
    """Claims from kombu's list on Redis by a script; kombu's own consumer would lose callbacks when killed."""

    def __init__(
        self,
        bridge_id: str,
        broker: Scripts,
        state: Scripts,
        ring: Callable[[str], None],
        *,
        same_redis: bool,
    ) -> None:
        self._id = bridge_id
        self._broker = broker
        self._state = state
        self._ring = ring
        self._same_redis = same_redis
        self._looked_around_at = 0.0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Bridge until asked to stop; outages of Redis are waited for."""
        while not stopping():
            try:
                if not self.once():
                    self._wait()
            except Unavailable as error:
                log.warning("bridge.waiting", error=str(error))
                time.sleep(WAIT_S)

    def once(self) -> int:
        """Move one batch. Returns the callbacks moved. Raises Unavailable; the claim then stays for the next round."""
        self._look_around()
        messages = self._broker.call(
            "claim_raw", SERVER_CLOCK, keys.RAW_QUEUE, self._id, LEASE_S, BATCH, BATCH_BYTES
        )
        if not messages:
            return 0
        load = inbox.Load()
        for message in messages:
            load.add_message(message)
        claim = inbox.RawClaim(keys.claimed(self._id), len(messages), messages[-1])
        ring = inbox.append(self._state, load, claim if self._same_redis else None)
        if not self._same_redis:
            self._broker.call("drop_raw", SERVER_CLOCK, *claim.operands)
        _report(load, self._ring, ring=ring)
        return len(messages)

    def _wait(self) -> None:
        """Block until a callback comes; it is claimed by the same move."""
        try:
            self._broker.redis.blmove(keys.RAW_QUEUE, keys.claimed(self._id), WAIT_S, "RIGHT", "LEFT")
        except RedisError as error:
            raise translated(error) from error

    def _look_around(self) -> None:
        if time.monotonic() - self._looked_around_at < WAIT_S:
            return
        self._looked_around_at = time.monotonic()
        given_back = self._broker.call("restore_raw", SERVER_CLOCK, keys.RAW_QUEUE)
        if given_back:
            log.warning("bridge.restored", callbacks=given_back)
        redrive(self._state, self._ring)


class KombuBridge:
    """Consumes from any broker whose acknowledgements are real: RabbitMQ, SQS."""

    def __init__(
        self, connect: Callable[[], Connection], state: Scripts, ring: Callable[[str], None]
    ) -> None:
        self._connect = connect
        self._state = state
        self._ring = ring
        self._pending: list[Any] = []

    def run(self, stopping: Callable[[], bool]) -> None:
        """Bridge until asked to stop; a lost connection is opened again."""
        wait_s = 0.1
        while not stopping():
            try:
                with self._connect() as connection:
                    connection.heartbeat = HEARTBEAT_S
                    self._consume(connection, stopping)
                wait_s = 0.1
            except _OUTAGES as error:
                log.warning("bridge.waiting", error=f"{type(error).__name__}: {error}", next_in_s=wait_s)
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, 5.0)

    def _consume(self, connection: Connection, stopping: Callable[[], bool]) -> None:
        # Before anything is delivered: a delivery that cannot be handed over counts against the delivery limit,
        # and an outage of Redis (or of its replicas, if they are waited for) would send callbacks to the broker's dead-letter queue one by one.
        self._state.probe()
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
                self._drain(connection)
                self._hand_over(multiple=driver == "amqp")
                redrive(self._state, self._ring)

    def _drain(self, connection: Connection) -> None:
        """Collect what is there: wait for the first, then take whatever comes without a pause."""
        wait_s: float = WAIT_S
        size = 0
        while len(self._pending) < BATCH and size < BATCH_BYTES:
            before = len(self._pending)
            try:
                connection.drain_events(timeout=wait_s)
            except TimeoutError:
                connection.heartbeat_check()
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
        _report(load, self._ring, ring=ring)


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


def redrive(state: Scripts, ring: Callable[[str], None]) -> None:
    """Take in what an operator sent back (``deedbox dead redrive``). Raises Unavailable."""
    try:
        messages = cast("list[bytes]", state.redis.lrange(keys.REDRIVE, 0, BATCH - 1))
    except RedisError as error:
        raise translated(error) from error
    if not messages:
        return
    load = inbox.Load()
    for message in messages:
        load.add_message(message)
        load.redriven.append(message)
    _report(load, ring, ring=inbox.append(state, load))


def _report(load: inbox.Load, ring_lane: Callable[[str], None], *, ring: bool) -> None:
    if ring:
        ring_lane(keys.SEQUENCER)
    if load.quarantined:
        log.error("bridge.quarantined", callbacks=len(load.quarantined), reason="undecodable")
    log.debug("bridge.moved", callbacks=len(load.entries))
