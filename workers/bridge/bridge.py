"""The bridge: moves raw callbacks from the broker into the inbox, in batches, and decides nothing.

It acks the broker last. A crash before that repeats the batch, and the fingerprint absorbs the repeats. What cannot
be decoded is set aside as a dead letter in the same call: never dropped, never a crash loop. Where the broker is not
the state's Redis, scripts wait for replicas (``deedbox.shared.redis.replicas``), because then no replication stream holds both the
callback and what becomes of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final, cast

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.broker.port import BATCH, LEASE_S, WAIT_S, Consumer
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import inbox, keys, script_calls
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.replicas import NotReplicated
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import DAY_S
from deedbox.shared.runtime import logs, telemetry
from deedbox.shared.runtime.outage import Outage
from deedbox.workers.pacing import Gathering

HOLD_S: Final = 10.0
"""How long a bridge whose Redis does not answer keeps what it took from the others."""

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0

PROBE_KEEP_S: Final = 60
BROKERS_KEEP_S: Final = 30 * DAY_S

log = logs.get("bridge")
hops = logs.HopLog("bridge", "event.bridged")

Opener = Callable[[], Consumer]


class Bridge:
    """Consumes every node of a broker, each in its own thread."""

    def __init__(
        self, bridge_id: str, openers: Sequence[Opener], state: Scripts, ring: Callable[[str], None]
    ) -> None:
        self._movers = [
            Mover(bridge_id, f"{bridge_id}:{number}", opener, state, ring)
            for number, opener in enumerate(openers)
        ]

    def run(self, stopping: Callable[[], bool]) -> None:
        """Bridge until asked to stop. A bug in one of the threads ends all, and the process."""
        if len(self._movers) == 1:
            self._movers[0].run(stopping)
            return
        failed = threading.Event()
        with ThreadPoolExecutor(len(self._movers), "deedbox-bridge") as pool:
            running = [pool.submit(each.run, lambda: stopping() or failed.is_set()) for each in self._movers]
            ended, _ = wait(running, return_when=FIRST_EXCEPTION)
            failed.set()
        for each in ended:
            each.result()


class Mover:
    """Moves what one node has."""

    def __init__(
        self, bridge_id: str, name: str, opener: Opener, state: Scripts, ring: Callable[[str], None]
    ) -> None:
        """``name``: whose batches they are."""
        self._id = bridge_id
        self._name = name
        self._open = opener
        self._state = state
        self._ring = ring
        self._gathering = Gathering()
        self._beat_at = float("-inf")
        self._wait_s = FIRST_WAIT_S
        self._outage = Outage(log, "bridge.waiting")

    def run(self, stopping: Callable[[], bool]) -> None:
        """Move until asked to stop; a lost connection is opened again, and outages of Redis are waited for."""
        while not stopping():
            try:
                # Before anything is delivered: a delivery that cannot be handed over counts against the delivery limit,
                # and a Redis that is away, full, or without the replicas that are waited for would send callbacks to
                # the dead-letter queue one by one.
                self.beat(at_once=True)
                consumer = self._open()
                try:
                    while not stopping():
                        if self._gathering.found(self.once(consumer, stopping), BATCH):
                            self._gathering.pause()
                        self._wait_s = FIRST_WAIT_S
                        self._outage.ended()
                finally:
                    consumer.close()
            except Unavailable as error:
                self._outage.lasts(error=str(error))
                time.sleep(self._wait_s)
                self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    def once(self, consumer: Consumer, stopping: Callable[[], bool] = lambda: False) -> int:
        """Move one batch. Returns how many callbacks were there without a wait.

        Raises Unavailable; what was taken then comes again.
        """
        self.beat()
        load = inbox.Load()
        there = consumer.take(load)
        if not load.is_empty or load.probes:
            ring = self._appended(load, consumer, stopping)
            consumer.done()
            report(load, self._ring, ring=ring)
        return there

    def beat(self, *, at_once: bool = False) -> None:
        """Say that this bridge lives, and take in redrives. Raises Unavailable if Redis does not take it."""
        now = time.monotonic()
        if at_once or now - self._beat_at >= WAIT_S:
            script_calls.beat(self._state, bridge=self._id, lease_s=LEASE_S)
            self._beat_at = now
            redrive(self._state, self._ring)

    def _appended(self, load: inbox.Load, consumer: Consumer, stopping: Callable[[], bool]) -> bool:
        """Append a batch. Returns whether to ring.

        One that is written and not confirmed is confirmed, however long that takes: no other bridge could do better.
        """
        until = time.monotonic() + HOLD_S
        outage = Outage(log, "bridge.holding", "bridge.moved")
        while True:
            try:
                self._mark(load.probes)
                ring = inbox.append(self._state, load, consumer.claim, self._name)
            except Unavailable as error:
                if stopping() or not (isinstance(error, NotReplicated) or time.monotonic() < until):
                    raise
                outage.lasts(error=str(error), callbacks=len(load.envelopes))
                consumer.keep()
            else:
                outage.ended()
                return ring

    def _mark(self, probes: Sequence[str]) -> None:
        try:
            for trace_id in probes:
                self._state.redis.set(keys.probe(trace_id), 1, ex=PROBE_KEEP_S)
        except RedisError as error:
            raise translated(error) from error


def remember(redis: Redis, where: str, now: float) -> None:
    """Note which broker is consumed: one that the settings do not name any more may still hold callbacks.

    Best effort, and forgotten after a month.
    """
    with suppress(RedisError):
        known = cast("dict[bytes, bytes]", redis.hgetall(keys.BRIDGE_BROKERS))
        for old, at in known.items():
            if float(at) < now - BROKERS_KEEP_S:
                redis.hdel(keys.BRIDGE_BROKERS, old)
        redis.hset(keys.BRIDGE_BROKERS, where, int(now))


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
    report(load, ring, ring=inbox.append(state, load))


def report(load: inbox.Load, ring_lane: Callable[[str], None], *, ring: bool) -> None:
    """Ring the sequencer for what was appended, and say what was set aside. Raises Unavailable."""
    if ring:
        ring_lane(keys.SEQUENCER)
    if load.quarantined:
        log.error("bridge.quarantined", callbacks=len(load.quarantined), reason="undecodable")
    for span in load.spans:
        span.end()
    if not telemetry.lines():
        return
    now = time.time()
    hops.write(
        {
            "source": each.source,
            "trace_id": each.trace_id,
            "waited_ms": round((now - each.received_at) * 1000, 1),
            "redriven": bool(each.redrive),
        }
        for each in load.envelopes
    )
