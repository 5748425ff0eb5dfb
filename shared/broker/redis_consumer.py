"""The consumer of a Redis: claims callbacks from kombu's list by a script, into a list of the bridge's own."""

from __future__ import annotations

import time
from typing import cast

from deedbox.shared.broker.port import BATCH, BATCH_BYTES, LEASE_S, WAIT_S
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.connections import translating
from deedbox.shared.redis.inbox import Load
from deedbox.shared.redis.script_calls import RawClaim
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.runtime import logs

log = logs.get("bridge")


class RedisConsumer:
    """One bridge's claims."""

    def __init__(self, scripts: Scripts, bridge: str, *, same_redis: bool) -> None:
        """``same_redis``: the inbox is there, too, so that an append drops the claim with its own write."""
        self._scripts = scripts
        self._bridge = bridge
        self._same_redis = same_redis
        self._claim: RawClaim | None = None
        self._looked_around_at = float("-inf")

    @property
    def claim(self) -> RawClaim | None:
        """What an append may drop."""
        return self._claim if self._same_redis else None

    def take(self, load: Load) -> int:
        """Claim what is there, or wait for one callback; what an earlier round left comes first, and alone."""
        self._look_around()
        messages = script_calls.claim_raw(
            self._scripts, bridge=self._bridge, lease_s=LEASE_S, at_most=BATCH, bytes_at_most=BATCH_BYTES
        )
        there = len(messages)
        if not messages and (message := self._wait()) is not None:
            # At once, and only then a look for more: a callback that arrives alone must not wait for that.
            messages = [message]
        for message in messages:
            load.add_message(message)
        self._claim = RawClaim(keys.claimed(self._bridge), len(messages), messages[-1]) if messages else None
        return there

    def _wait(self) -> bytes | None:
        """Block until a callback comes; it is claimed by the same move."""
        with translating():
            found = self._scripts.redis.blmove(
                keys.RAW_QUEUE, keys.claimed(self._bridge), WAIT_S, "RIGHT", "LEFT"
            )
        return cast("bytes | None", found)

    def _look_around(self) -> None:
        """Give back what dead bridges had claimed."""
        if time.monotonic() - self._looked_around_at < WAIT_S:
            return
        self._looked_around_at = time.monotonic()
        if given_back := script_calls.restore_raw(self._scripts):
            log.warning("bridge.restored", callbacks=given_back)

    def done(self) -> None:
        """Drop the claim, unless the append did."""
        claim, self._claim = self._claim, None
        if claim is not None and not self._same_redis:
            script_calls.drop_raw(self._scripts, claim)

    def keep(self) -> None:
        """Renew the lease of the claim."""
        time.sleep(WAIT_S)
        script_calls.beat(self._scripts, bridge=self._bridge, lease_s=LEASE_S)

    def close(self) -> None:
        """Leave the claim: it is this bridge's next, or another's once the lease is over."""
