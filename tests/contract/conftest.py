"""The scripts' contract, against the fake and the real Redis alike. Time is a parameter here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import fakeredis
import pytest
from redis import Redis

from deedbox.shared.records.queue_entry import FINGERPRINT_CHARS
from deedbox.shared.records.subscriptions import Subscription, Subscriptions
from deedbox.shared.redis import keys
from deedbox.shared.redis.script_calls import RawClaim
from deedbox.shared.redis.scripting import Operand, Scripts
from tests.component.conftest import redis_server, state

__all__ = ["redis_server", "state"]

LEASE_S = 10
LINGER_S = 3
NO_CLAIM: Final = ("", 0, 0, 0, 0)
LANE = "default"
ACTIONS: Final = ("act", "loose", "hook", "log", "other", "erase_destroyed")
"""Of every unit in these tests."""


class Store:
    """The scripts under names of their own, at a time that the test sets."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.now = 1000.0
        self.ring = False
        """Whether the last claim asked for help."""
        self.over: list[bytes] = []
        """Units of which nothing more may begin, after the last commit."""
        self._scripts = Scripts(redis)
        self.declare(*(Subscription(name, (name,), LANE, name != "loose") for name in ACTIONS))

    def call(self, name: str, *args: Operand) -> Any:
        return self._scripts.call(name, self.now, *args)

    def declare(self, *actions: Subscription) -> int:
        """Announce a declaration that was never seen before. Returns its generation."""
        declared = Subscriptions(actions)
        generation, _ = self.call("announce", f"{self.now} {declared.digest}", declared.dump(), 60, 0)
        return int(generation)

    def publish(self, *messages: bytes) -> None:
        """As kombu does it: newest left."""
        for message in messages:
            self.redis.lpush(keys.RAW_QUEUE, message)

    def claim_raw(self, bridge: str, at_most: int = 250, bytes_at_most: int = 1 << 20) -> list[bytes]:
        found: list[bytes] = self.call("claim_raw", keys.RAW_QUEUE, bridge, LEASE_S, at_most, bytes_at_most)
        return found

    def restore_raw(self) -> int:
        return int(self.call("restore_raw", keys.RAW_QUEUE))

    def append(self, *entries: tuple[int, bytes], claim: RawClaim | None = None, redriven: tuple[bytes, ...] = (),
               letters: tuple[tuple[Operand, ...], ...] = (), batch: tuple[str, str] = ("", "")) -> bool:  # fmt: skip
        flat = [operand for entry in entries for operand in entry]
        tail = [operand for letter in letters for operand in (len(letter), *letter)]
        named = claim or ("", 0, "")
        return bool(self.call("append", *named, *batch, len(entries), *flat, len(redriven), *redriven, *tail))

    def claim_shard(self, drainer: str, at_most: int = 250) -> Shard | None:
        reply = self.call("claim_shard", drainer, LEASE_S, LINGER_S, at_most, 1 << 20)
        return Shard(*reply) if reply else None

    def shard(self, drainer: str, at_most: int = 250) -> Shard:
        """Claim a shard that must be ready."""
        found = self.claim_shard(drainer, at_most)
        assert found is not None
        return found

    def release(self, shard: Shard, taken: int, *operations: tuple[Operand, ...]) -> list[Any]:
        flat = [operand for operation in operations for operand in operation]
        done, *rest = self.call("release", shard.unit, shard.token, taken, 1000, 1000, 50, *NO_CLAIM, *flat)
        if not done:
            assert rest == []
            return [done]
        rung, claimed = rest
        assert claimed == []
        return [done, *rung]

    def enqueue(self, *entries: tuple[str, str], lane: str = LANE) -> None:
        """Release references into queues, the way the sequencer does."""
        units = dict.fromkeys(unit for unit, _ in entries)
        self.declare(
            *(_subscription(name, units, lane) for name in dict.fromkeys((*ACTIONS, *map(_action, units))))
        )
        self.append((0, b"callback"))
        shard = self.shard("sequencer")
        self.release(
            shard,
            1,
            *(
                operation
                for unit, entry in entries
                for operation in (("S", unit.split("|")[1], "", ""), queued(unit, entry))
            ),
        )

    def claim(self, drainer: str, entries_at_most: int = 1, lane: str = LANE) -> list[Unit]:
        """Claim a batch; units in the order of the claim."""
        reply = self.call(
            "claim_entries", lane, drainer, LEASE_S, LINGER_S, entries_at_most, 1 << 20, *ACTIONS
        )
        self.ring = bool(reply and reply[0])
        return [Unit(*row) for row in reply[2:]]

    def claim_entry(self, drainer: str, lane: str = LANE) -> Unit | None:
        """Claim one entry."""
        return next(iter(self.claim(drainer, 1, lane)), None)

    def claimed(self, drainer: str, lane: str = LANE) -> Unit:
        """Claim one entry that must be there."""
        unit = self.claim_entry(drainer, lane)
        assert unit is not None
        return unit

    def finish(self, unit: Unit, verb: str, wait_s: float = 0, *operations: tuple[Operand, ...],
               lane: str = LANE) -> list[Any]:  # fmt: skip
        """Commit the outcome of a unit's first entry. Returns sections refused, then lanes to ring."""
        return self.commit(section(unit, verb, wait_s, *operations), lane=lane)

    def commit(self, *sections: list[Operand], lane: str = LANE) -> list[Any]:
        """Commit several outcomes in one call."""
        flat = [operand for each in sections for operand in each]
        lost, rung, claimed, over = self.call("finish", lane, 1000, 1000, 50, *NO_CLAIM, 0, *flat)
        assert claimed == []
        self.over = over
        return [lost, *rung]

    def commit_and_claim(
        self, drainer: str, *sections: list[Operand], at_most: int = 1
    ) -> tuple[list[Unit], list[bytes]]:
        """Commit outcomes and claim in one call. Returns the units, and the lanes to ring."""
        flat = [operand for each in sections for operand in each]
        claim = (drainer, LEASE_S, LINGER_S, at_most, 1 << 20)
        _, rung, claimed, self.over = self.call(
            "finish", LANE, 1000, 1000, 50, *claim, len(ACTIONS), *ACTIONS, *flat
        )
        return [Unit(*row) for row in claimed[2:]], rung

    def release_and_claim(
        self, drainer: str, shard: Shard, taken: int, *operations: tuple[Operand, ...]
    ) -> tuple[Shard | None, list[bytes]]:
        """Release and claim in one call. Returns the shard, and the lanes to ring."""
        flat = [operand for operation in operations for operand in operation]
        claim = (drainer, LEASE_S, LINGER_S, 250, 1 << 20)
        done, *rest = self.call("release", shard.unit, shard.token, taken, 1000, 1000, 50, *claim, *flat)
        if not done:
            return None, []
        rung, claimed = rest
        return Shard(*claimed) if claimed else None, rung

    def sweep(self, lane: str = LANE) -> list[int]:
        """Sweep a lane: leases taken back, retries due, whether to ring."""
        shards = 16 if lane == keys.SEQUENCER else 0
        actions = () if shards else ACTIONS
        found, more = [0, 0, 0], 1
        while more:
            reply = self.call("sweep", lane, shards, 500, 8, 50, 1000, 1000, 20, *actions)
            found = [found[0] + reply[0], found[1] + reply[1], max(found[2], reply[2])]
            more = reply[5]
        return found

    def leave(self, drainer: str) -> int:
        """Ask whether a drainer may end its job."""
        return int(self.call("leave", LANE, drainer, *ACTIONS))

    def depth(self) -> int:
        """Return how many entries the queues are said to hold."""
        return sum(map(int, self.redis.hvals(keys.DEPTHS)))

    def dump(self) -> dict[Any, Any]:
        """Return everything that is stored."""
        return {key: self.redis.dump(key) for key in self.redis.scan_iter()}

    def entries_queued(self) -> int:
        """Count what really lies in queues."""
        return sum(self.redis.llen(key) for key in self.redis.scan_iter(keys.queue("*")))


def queued(unit: str, entry: str) -> tuple[Operand, ...]:
    """Make the operation of a release that brings an entry to the end of a unit's queue: its action wants its own name."""
    return ("O", 0, entry[FINGERPRINT_CHARS:], 1, entry[:FINGERPRINT_CHARS], _action(unit), "")


def emitted(unit: str, entry: str) -> tuple[Operand, ...]:
    """Make the same operation of an outcome."""
    return ("A", entry[:FINGERPRINT_CHARS], _action(unit), entry)


def _action(unit: str) -> str:
    return unit.partition("|")[0]


def _subscription(name: str, units: Iterable[str], lane: str) -> Subscription:
    ordered = not any(unit.count("|") > 1 for unit in units if _action(unit) == name)
    return Subscription(name, (name,), lane, ordered and name != "loose")


class Shard:
    """What ``claim_shard`` returned."""

    def __init__(self, unit: bytes, token: bytes, ring: int, now: bytes, entries: list[bytes],
                 due: list[bytes], behind: int) -> None:  # fmt: skip
        self.unit, self.token, self.ring, self.now = unit, token, ring, float(now)
        self.bodies = [entry.partition(b"\n")[2] for entry in entries]
        self.due = due
        self.behind = behind


class Unit:
    """One unit that ``claim_entries`` leased, with the heads of its queue."""

    def __init__(self, unit: bytes, token: bytes, *rest: Any) -> None:
        self.unit, self.token = unit, token
        self.entries: list[bytes] = list(rest[::3])
        self.events: list[tuple[bytes, bytes]] = list(zip(rest[1::3], rest[2::3], strict=True))
        """Facts and body of each."""

    @property
    def entry(self) -> bytes:
        """Its first entry."""
        return self.entries[0]


def section(
    unit: Unit, verb: str, wait_s: float = 0, *operations: tuple[Operand, ...], entry: bytes | None = None
) -> list[Operand]:
    """Make one outcome of a commit; ``entry``: which one, if not the first."""
    named = unit.entry if entry is None else entry
    flat = [operand for operation in operations for operand in operation]
    return ["U", unit.unit, unit.token, verb, wait_s, named, *flat]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real_redis)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Lend an empty store: first the fake, then the server."""
    if request.param == "real":
        yield Store(request.getfixturevalue("state"))
        return
    with fakeredis.FakeStrictRedis(server_type="redis", version=(7, 0)) as redis:
        yield Store(redis)
