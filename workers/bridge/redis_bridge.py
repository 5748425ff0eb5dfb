"""The bridge: moves raw callbacks from the broker into the inbox, in batches, and decides nothing.

It acks the broker last. A crash before that repeats the batch, and the fingerprint absorbs the repeats. What cannot
be decoded is set aside as a dead letter in the same call: never dropped, never a crash loop. Where the broker is not
the state's Redis, scripts wait for replicas (``deedbox.shared.redis.replicas``), because then no replication stream holds both the
callback and what becomes of it.

Here: the bridge of a Redis, and what both bridges do. ``bridge_kombu`` has the one of every other broker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, cast

from redis.exceptions import RedisError

from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import inbox, keys
from deedbox.shared.redis.connections import translated
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.runtime import logs, telemetry
from deedbox.workers.pacing import Gathering

BATCH: Final = 250
BATCH_BYTES: Final = 4 * 1024 * 1024
LEASE_S: Final = 10.0
"""How long a bridge's claim lasts without another round, at least the half of it: a crash delays its callbacks by this
at most."""

WAIT_S: Final = 1
"""Longest wait for a callback before the bridge looks around: stop requests, dead bridges, redrives."""


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
        self._gathering = Gathering()

    def run(self, stopping: Callable[[], bool]) -> None:
        """Bridge until asked to stop; outages of Redis are waited for."""
        while not stopping():
            try:
                moved = self.once()
                if self._gathering.found(moved, BATCH):
                    self._gathering.pause()
                elif not moved and (message := self._wait()) is not None:
                    # At once, and only then a look for more: whoever comes alone is not to pay for that.
                    self._move([message])
            except Unavailable as error:
                log.warning("bridge.waiting", error=str(error))
                time.sleep(WAIT_S)

    def once(self) -> int:
        """Move one batch. Returns the callbacks moved. Raises Unavailable; the claim then stays for the next round."""
        self._look_around()
        messages = self._broker.call(
            "claim_raw", SERVER_CLOCK, keys.RAW_QUEUE, self._id, LEASE_S, BATCH, BATCH_BYTES
        )
        if messages:
            self._move(messages)
        return len(messages)

    def _move(self, messages: Sequence[bytes]) -> None:
        """Append what was claimed, oldest first, and drop the claim if that is all that it holds."""
        load = inbox.Load()
        for message in messages:
            load.add_message(message)
        claim = inbox.RawClaim(keys.claimed(self._id), len(messages), messages[-1])
        ring = inbox.append(self._state, load, claim if self._same_redis else None)
        if not self._same_redis:
            self._broker.call("drop_raw", SERVER_CLOCK, *claim.operands)
        report(load, self._ring, ring=ring)

    def _wait(self) -> bytes | None:
        """Block until a callback comes; it is claimed by the same move."""
        try:
            found = self._broker.redis.blmove(keys.RAW_QUEUE, keys.claimed(self._id), WAIT_S, "RIGHT", "LEFT")
        except RedisError as error:
            raise translated(error) from error
        return cast("bytes | None", found)

    def _look_around(self) -> None:
        if time.monotonic() - self._looked_around_at < WAIT_S:
            return
        self._looked_around_at = time.monotonic()
        given_back = self._broker.call("restore_raw", SERVER_CLOCK, keys.RAW_QUEUE)
        if given_back:
            log.warning("bridge.restored", callbacks=given_back)
        redrive(self._state, self._ring)


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
    for each in load.envelopes:
        log.info(
            "event.bridged",
            source=each.source,
            trace_id=each.trace_id,
            waited_ms=round((now - each.received_at) * 1000, 1),
            redriven=bool(each.redrive),
        )
