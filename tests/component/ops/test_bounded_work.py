"""What operators and workers do, on much state: no command walks through all keys, no call works through all of anything.

The server itself says what it was asked for (MONITOR), scripts included. Work is counted in commands, not in time; a command
that removes a range without a limit counts as the whole key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

from deedbox.ops.charts import samples
from deedbox.ops.checks import redis_server as redis_checks
from deedbox.ops.installation import Installation
from deedbox.ops.metrics import reading
from deedbox.ops.readmodels import look_ups, request_search, status, timeline
from deedbox.ops.repair.deadletters import DeadLetters
from deedbox.ops.repair.redrive import Redriver
from deedbox.ops.repair.replay import Replayer
from deedbox.ops.repair.rotation import rotate
from deedbox.ops.repair.undeclared import UndeclaredCalls
from deedbox.shared import sealing
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.stored_event import StoredEvent
from deedbox.shared.records.subscriptions import Subscription
from deedbox.shared.redis import data_keys, keys, script_calls
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.key_types import suspect
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.sealing.key_ring import KeyRing
from deedbox.shared.settings import Settings
from deedbox.workers.sweeper import foreign_keys
from deedbox.workers.sweeper.foreign_keys import ForeignKeys
from deedbox.workers.sweeper.sweeper import Sweeper
from tests.component.ops.monitored import Work, asked_for, is_bounded
from tests.component.workers.rig import CREATED_AT, Deployment, Journal, action, sent, silent
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

MANY: Final = 3_000
COMMANDS_MAX: Final = 2_500
"""Of one script call: about a microsecond each. Less than one for each of ``MANY``."""

EXPIRED: Final = 50_000
"""Members of one key whose time is over."""

BIG = Subject("default", "signature_request/big")
ENTRY: Final = '{"at":1.0}'


class World:
    """A deployment, and an operator's view of it."""

    def __init__(self, redis: Redis, url: str, folder: Path) -> None:
        self.redis = redis
        self.scripts = Scripts(redis)
        environ = {"DEEDBOX_REDIS_URL": url, "DEEDBOX_API_KEYS": "k" * 64, "DEEDBOX_DATA_DIR": str(folder)}
        self.installation = Installation(Settings.load(environ))
        self.deployment = Deployment(redis, action(Journal(), name="new"))
        self.deployment.deliver(sent())
        self.deployment.run()

    def stored(self, stream: str, events: int) -> list[str]:
        """Store events of a stream as a release does, without bodies worth anything."""
        [model] = [name for name in self.redis.scan_iter(keys.event("*")) if b":" not in name[15:]]
        values: Any = self.redis.hgetall(model)
        stored = StoredEvent.load("", values)
        assert stored
        flat = replace(stored, ordering_key=stream.partition(":")[2]).fields()
        fields: Any = dict(zip(flat[::2], flat[1::2], strict=True))
        names = [f"{number:032x}" for number in range(1, events + 1)]
        pipe = self.redis.pipeline(transaction=False)
        for name in names:
            pipe.zadd(keys.seen(stream), {name: 1000.0})
            pipe.hset(keys.event(name), mapping=fields)
        pipe.zadd(keys.STREAMS, {stream: 1000.0})
        pipe.execute()
        return names

    def letters(self, events: list[str]) -> None:
        """File a dead letter of each event."""
        filed = [
            {
                "reason": "rejected", "source": "default", "key": BIG.ordering_key, "action": "new", "lane": "default",
                "unit": f"new|{BIG.stream}", "entry": name + ENTRY, "event": name,
            }
            for name in events
        ]  # fmt: skip
        for first in range(0, len(filed), 500):
            script_calls.append(self.scripts, letters=filed[first : first + 500])

    def queue(self, unit: str, events: list[str]) -> None:
        """Let entries wait in a queue."""
        self.redis.rpush(keys.queue(unit), *(name + ENTRY for name in events))
        name, stream = unit.split("|")[:2]
        self.redis.hincrby(keys.DEPTHS, name, len(events))
        self.redis.hincrby(keys.queued(stream), name, len(events))
        self.redis.zadd(keys.action(name, "ready"), {unit: 1.0})

    def units(self, part: str) -> None:
        """Let many units of one action be due."""
        pipe = self.redis.pipeline(transaction=False)
        for number in range(MANY):
            unit = f"new|default:signature_request/u{number}"
            pipe.rpush(keys.queue(unit), f"{number:032x}" + ENTRY)
            pipe.zadd(keys.action("new", part), {unit: 1.0})
        pipe.execute()

    def sweep(self) -> None:
        """Sweep until nothing is due."""
        sweeper = Sweeper(self.scripts, silent)
        for _ in range(3):
            sweeper.once()


def _erase(world: World) -> Work:
    world.letters(world.stored(BIG.stream, MANY))
    eraser = Eraser(world.scripts, world.installation.documents, world.installation.settings.retention)

    def work() -> None:
        assert eraser.find(BIG).events == MANY
        eraser.erase(BIG, documents=False, by=Asker.OPERATOR)
        assert not eraser.find(BIG).in_redis

    return work


def _replay(world: World) -> Work:
    world.stored(BIG.stream, MANY)
    world.redis.zadd(keys.STREAMS, {f"default:signature_request/x{number}": 1000.0 for number in range(MANY)})
    replayer = Replayer(world.scripts, silent)
    order, actions = (
        ReplayOrder(("new",), ReplaySpan(0, 2000)),
        (Subscription("new", ("*",), "default", ordered=True),),
    )

    def work() -> None:
        assert replayer.carry_out(replayer.plan(order, actions)).appended == MANY

    return work


def _discard(world: World) -> Work:
    world.letters(world.stored(BIG.stream, MANY))
    letters = DeadLetters(world.scripts)
    return lambda: letters.discard(list(letters.newest_first()))


def _redrive(world: World) -> Work:
    world.letters(world.stored(BIG.stream, 600))
    letters, redriver = DeadLetters(world.scripts), Redriver(world.scripts, silent)
    return lambda: redriver.carry_out(redriver.plan(list(letters.newest_first())))


def _end_calls(world: World) -> Work:
    world.queue(f"old|{BIG.stream}", world.stored(BIG.stream, MANY))
    calls = UndeclaredCalls(world.scripts, silent)
    return lambda: calls.end("old")


def _rename_calls(world: World) -> Work:
    events = world.stored(BIG.stream, MANY)
    world.queue(f"old|{BIG.stream}", events)
    world.queue(f"new|{BIG.stream}", events[:10])
    calls = UndeclaredCalls(world.scripts, silent)

    def work() -> None:
        assert calls.rename("old", "new").calls == MANY
        queue: Any = world.redis.lrange(keys.queue(f"new|{BIG.stream}"), 0, -1)
        assert [entry[:32].decode() for entry in queue] == events + events[:10]

    return work


def _rename_both_long(world: World) -> Work:
    events = world.stored(BIG.stream, MANY)
    world.queue(f"old|{BIG.stream}", events)
    world.queue(f"new|{BIG.stream}", events)
    calls = UndeclaredCalls(world.scripts, silent)

    def work() -> None:
        assert calls.rename("old", "new").left == MANY, "until the other action has worked its queue off"

    return work


def _swept(part: str) -> Callable[[World], Work]:
    def seeded(world: World) -> Work:
        world.units(part)
        return world.sweep

    return seeded


def _sweep_expired(world: World) -> Work:
    world.redis.zadd(keys.STREAMS, {f"default:signature_request/x{number}": 1.0 for number in range(MANY)})
    return world.sweep


def _release(world: World) -> Work:
    """Let an account have many events; weeks later the next one comes."""
    stream = "default:account/a1"
    pipe = world.redis.pipeline(transaction=False)
    for first in range(0, EXPIRED, 5000):
        pipe.zadd(keys.seen(stream), {f"{number:032x}": 1.0 for number in range(first, first + 5000)})
    pipe.execute()

    def work() -> None:
        left = EXPIRED
        for number in range(EXPIRED):
            world.deployment.deliver(
                json.dumps(
                    {
                        "event": {
                            "event_type": "account_confirmed",
                            "event_time": str(CREATED_AT + number),
                            "event_hash": "0",
                        },
                        "account": {"account_id": "a1"},
                    }
                ).encode()
            )
            world.deployment.drain()
            before, left = left, world.redis.zcount(keys.seen(stream), 0, 2.0)
            assert before - left <= COMMANDS_MAX
            if not left:
                return

    return work


def _track(world: World) -> Work:
    """Let the retention of many requests end at once, before the next read model."""
    old = {f"x{number}": 1.0 for number in range(keys.REQUESTS_KEEP)}
    world.redis.zadd(keys.find("state"), old)

    def work() -> None:
        left = keys.REQUESTS_KEEP
        for number in range(keys.REQUESTS_KEEP):
            script_calls.remember_request(
                world.scripts, stream=f"default:signature_request/n{number}", value=b"{}", life_s=1000, before=b"",
                state="state", terms=(),
            )  # fmt: skip
            before, left = left, world.redis.zcount(keys.find("state"), 0, 2.0)
            assert before - left <= COMMANDS_MAX
            if not left:
                return

    return work


def _erase_after_many(world: World) -> Work:
    """Let earlier erasures have taken much out of the clean stream, which has moved on since."""
    world.stored(BIG.stream, 10)
    for first in range(1, EXPIRED, 5000):
        world.redis.zadd(keys.EVENTS_ERASED, {str(number): number for number in range(first, first + 5000)})
    world.redis.delete(keys.EVENTS)
    world.redis.xadd(keys.EVENTS, {"n": EXPIRED + 1, "event": "{}"})
    eraser = Eraser(world.scripts, world.installation.documents, world.installation.settings.retention)

    def work() -> None:
        left = EXPIRED
        while left:
            eraser.erase(BIG, documents=False, by=Asker.OPERATOR)
            before, left = left, world.redis.zcard(keys.EVENTS_ERASED)
            assert 0 < before - left <= COMMANDS_MAX

    return work


def _rotate(world: World) -> Work:
    sealing.install(KeyRing([bytes(32)]))
    data_keys.ensure(
        world.scripts, [f"default:signature_request/x{number}" for number in range(MANY)], 10_000
    )
    world.letters(world.stored(BIG.stream, MANY))
    sealing.install(KeyRing([bytes(range(32)), bytes(32)]))

    def work() -> None:
        assert rotate(world.installation).rewrapped == MANY

    return work


def _looks(world: World) -> Work:
    world.letters(world.stored(BIG.stream, MANY))
    pipe = world.redis.pipeline(transaction=False)
    for number in range(MANY):
        pipe.xadd(keys.SAMPLES, {samples.FIELD: "{}"}, id=f"{number + 1}-0")
    pipe.execute()
    redis, installation = world.redis, world.installation

    def work() -> None:
        status.look(installation)
        reading.read(installation)
        request_search.search(redis, ["default"], "nothing")
        look_ups.look_up(redis, look_ups.LookUp("default", state="sent"))
        timeline.read(redis, "default", "signature_request/r1")
        samples.read(redis, 0)
        list(redis_checks.check(redis, "redis", "DEEDBOX_REDIS_URL"))
        assert len(list(DeadLetters(world.scripts).newest_first())) == MANY

    return work


OPERATIONS: Final[dict[str, Callable[[World], Work]]] = {
    "erase": _erase,
    "replay by time": _replay,
    "discard": _discard,
    "redrive": _redrive,
    "end_calls": _end_calls,
    "rename_calls": _rename_calls,
    "rename_calls, both long": _rename_both_long,
    "sweep waiting": _swept("waiting"),
    "sweep leased": _swept("leased"),
    "sweep parked": _swept("parked"),
    "sweep expired": _sweep_expired,
    "rotate-keys": _rotate,
    "release after weeks": _release,
    "a read model after weeks": _track,
    "erase after many": _erase_after_many,
    "status, metrics, search, samples, check": _looks,
}


@pytest.fixture
def world(state: Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[World]:
    yield World(state, redis_server.url, tmp_path)
    sealing.install(None)


@pytest.mark.parametrize("seeded", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_works_in_bounded_steps(world: World, seeded: Callable[[World], Work]) -> None:
    asked = asked_for(world.redis, seeded(world))
    assert [each for each in asked if each.name in {"KEYS", "SCAN"}] == []
    assert [each.text[:200] for each in asked if not is_bounded(each.text)] == []
    calls: list[int] = []
    for each in asked:
        if each.in_script:
            calls[-1] += 1
        else:
            calls.append(0)
    assert max(calls) <= COMMANDS_MAX


def test_the_walk_after_a_wrong_key_has_a_bound_in_every_look(world: World) -> None:
    world.redis.mset({f"{keys.PREFIX}anything:{number}": "" for number in range(2 * MANY)})
    suspect(world.redis)
    foreign = ForeignKeys(world.scripts)
    while world.redis.exists(keys.FOREIGN_SUSPECTED):
        asked = asked_for(world.redis, foreign.once)
        assert len([each for each in asked if each.name == "SCAN"]) <= foreign_keys.PIECES
