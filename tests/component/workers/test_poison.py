"""Any bytes in any stored value: no process ends, other requests go on, and what is wrong can be seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
from redis import Redis

from deedbox.ops.charts import samples
from deedbox.ops.checks import clocks, document_stores, redis_server, traffic
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import events, intake, request_search, requests, stages, timeline
from deedbox.ops.readmodels.events import START, EventFilter
from deedbox.ops.repair.conflicts import Conflicts
from deedbox.ops.repair.deadletters import DeadLetters
from deedbox.ops.repair.history import History
from deedbox.ops.wording import trace_page
from deedbox.shared.core.errors import DeedboxError, Unavailable
from deedbox.shared.core.identity import shard_of
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.records.replay_order import ReplaySpan
from deedbox.shared.redis import keys
from deedbox.shared.redis.connections import is_of_wrong_type
from deedbox.shared.redis.key_types import FIXED, suspect, type_of
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.shared.settings import Settings
from deedbox.workers.announcement import announce
from deedbox.workers.sweeper.alert_conditions import ConditionWatch
from deedbox.workers.sweeper.foreign_keys import ForeignKeys
from tests.component.workers.rig import Deployment, Journal, P, action, callback, sent, viewed

pytestmark = pytest.mark.real_redis

STREAM = "default:signature_request/r1"
POISON = [
    b"\xff\xfe\x00",
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"at":1e999}',
    b"7",
    b'"x"',
    b"-1",
    b"[" * 5000,
    b'["a",[],{}]',
]

Spoil = Callable[[Any, bytes], object]


def field(key: str) -> Spoil:
    def spoil(redis: Any, poison: bytes) -> None:
        for name in redis.hkeys(key) or ["x"]:
            redis.hset(key, name, poison)

    return spoil


def text(key: str) -> Spoil:
    return lambda redis, poison: redis.set(key, poison)


def line(key: str) -> Spoil:
    return lambda redis, poison: redis.rpush(key, poison)


def member(key: str) -> Spoil:
    return lambda redis, poison: redis.zadd(key, {poison: 1.0})


def each(pattern: str, spoil: Callable[[str], Spoil]) -> Spoil:
    def all_of(redis: Any, poison: bytes) -> None:
        for key in list(redis.scan_iter(pattern)):
            spoil(key.decode())(redis, poison)

    return all_of


SPOILS: dict[str, Spoil] = {
    "order state": text(keys.order(STREAM)),
    "read model": text(keys.request(STREAM)),
    "document record": text(keys.document(STREAM)),
    "tombstone": text(keys.erased("default:signature_request/gone")),
    "stored event": each(keys.event("*"), field),
    "queue entry": each(keys.queue("*"), lambda key: lambda redis, poison: redis.lset(key, 0, poison)),
    "inbox entry": line(keys.inbox(shard_of(STREAM))),
    "timeline line": line(keys.timeline(STREAM)),
    "dead letter": lambda redis, poison: (
        redis.hset(keys.dead("9"), mapping={"id": "9", "at": poison, "reason": poison}),
        redis.zadd(keys.DEAD, {"9": 1.0}),
    ),
    "index of dead letters": member(keys.DEAD),
    "index of holds": member(keys.HELD),
    "dedupe memory": member(keys.seen(STREAM)),
    "wake-up": member(f"{keys.PREFIX}wake:{shard_of(STREAM)}"),
    "look for gaps": member(keys.GAPS_DUE),
    "subscriptions": lambda redis, value: redis.hset(keys.SUBSCRIPTIONS, "actions", value),
    "unit of an action": member(keys.action("journal", "ready")),
    "unit that waits": member(keys.action("journal", "waiting")),
    "leased unit": member(keys.action("journal", "leased")),
    "shard": member(keys.shards("ready")),
    "intake report": field(keys.INTAKE),
    "totals of a source": field(keys.SOURCES),
    "alert board": text(keys.ALERTS),
    "clean stream entry": lambda redis, poison: redis.xadd(keys.EVENTS, {"n": poison}),
    "index of streams": member(keys.STREAMS),
    "replay": lambda redis, poison: (redis.set(keys.REPLAY_SEQ, 1), redis.set(keys.replay(1), poison)),
    "replay mark": lambda redis, poison: redis.hset(keys.replay_done(1), STREAM, poison),
    "redriven message": line(keys.REDRIVE),
    "mark of a spool": field(keys.SPOOLS),
    "counter": field(keys.COUNTERS),
    "counter of calls": field(keys.CALLS),
    "counter of entries": field(f"{keys.PREFIX}depths"),
    "entries of a stream": field(keys.queued(STREAM)),
    "source of tokens": text(keys.PREFIX + "fence"),
    "number of the last dead letter": text(keys.dead("seq")),
    "sample": lambda redis, poison: redis.xadd(keys.SAMPLES, {"sample": poison}),
    "totals of samples": text(keys.SAMPLES_TOTALS),
    "mark of a store": field(keys.STORES),
    "presence": field(keys.WORKERS_DOING),
    "lost call": line(keys.LOST),
    "restart": field(keys.RESTARTS),
}


def turn(redis: Any, key: str) -> None:
    """Replace a key by one of another type."""
    redis.delete(key)
    if type_of(key) == "string":
        redis.rpush(key, "x")
    else:
        redis.set(key, "x")


PER_STREAM = [keys.order, keys.seen, keys.timeline, keys.request, keys.document, keys.queued]
TURNED: dict[str, Callable[[Any], list[str]]] = {
    **{key: lambda _redis, key=key: [key] for key in FIXED if not key.startswith(keys.FOREIGN)},  # type: ignore[misc]
    **{each(STREAM): lambda _redis, each=each: [each(STREAM)] for each in PER_STREAM},  # type: ignore[misc]
    **{
        keys.action("journal", part): lambda _redis, part=part: [keys.action("journal", part)]  # type: ignore[misc]
        for part in ("ready", "leased", "tokens", "waiting")
    },
    "inbox": lambda _redis: [keys.inbox(shard_of(STREAM))],
    "wake": lambda _redis: [f"{keys.PREFIX}wake:{shard_of(STREAM)}"],
    "idle": lambda _redis: [keys.lane("default", "idle")],
    "bell": lambda _redis: [keys.lane("default", "bell")],
    "queues": lambda redis: [key.decode() for key in redis.scan_iter(keys.queue("*"))],
    "events": lambda redis: [key.decode() for key in redis.scan_iter(keys.event("*"))],
    "letters": lambda _redis: [keys.letters("signature_request/r1")],
}


def deploy(state: Redis, journal: Journal) -> Deployment:
    deployment = Deployment(state, action(journal), order=OrderingPolicy(hold_s=30), gap_after_s=0.01)
    deployment.registry.subscribed(P + "sent")
    return deployment


def look_at_everything(state: Any, deployment: Deployment) -> None:
    """Read what pages and commands show. A sentence for a person is an answer; any other exception is not."""
    holdings, history, installation = Holdings(state), History(state), Installation(Settings.load({}))
    installation.__dict__["redis"] = state  # as if it had been opened
    looks: list[Callable[[], object]] = [
        lambda: [
            (trace_page.told(each), trace_page.subject(each))
            for found in [timeline.read(state, "default", "signature_request/r1")]
            for each in (found.entries if found else ())
        ],
        lambda: requests.read(state, "default", "r1"),
        lambda: request_search.search(state, ["default"], "r"),
        lambda: intake.sources_of(state.hgetall(keys.SOURCES)),
        lambda: intake.parse(state.hgetall(keys.INTAKE)),
        lambda: list(DeadLetters(deployment.scripts).newest_first()),
        lambda: history.past(STREAM, ReplaySpan()),
        lambda: history.streams("", ReplaySpan()),
        lambda: holdings.erased_at("default:signature_request/gone"),
        lambda: holdings.letters(Subject("default", "signature_request/r1")),
        lambda: holdings.queued(STREAM),
        holdings.unfinished_replays,
        lambda: Conflicts(deployment.scripts).of("default", "signature_request/r1"),
        lambda: events.with_payloads(state, events.read(state, START, EventFilter())),
        lambda: samples.read(state, 0),
        lambda: ConditionWatch(state, cast("Any", None)).seen(0),
        lambda: list(redis_server.check(state, "redis", "DEEDBOX_REDIS_URL")),
        lambda: list(clocks.check(state)),
        lambda: list(document_stores.check(installation)),
        lambda: list(traffic.check(installation)),
    ]
    for look in looks:
        with contextlib.suppress(DeedboxError, events.CursorExpired):
            look()
    stages.survey(state)


def go_on(deployment: Deployment) -> None:
    """Do once what the processes do again and again. A command that Redis refuses is waited out, as they do."""
    announce(deployment.scripts, deployment.registry)  # as every process does again and again
    deployment.sweeper.once()
    announce(deployment.scripts, deployment.registry)  # as every process of a lane does again and again
    deployment.run()


@pytest.mark.parametrize("poison", POISON, ids=range(len(POISON)))
@pytest.mark.parametrize("what", SPOILS)
def test_poison_in_a_stored_value_stops_nothing_else(state: Redis, what: str, poison: bytes) -> None:
    journal = Journal()
    deployment = deploy(state, journal)
    deployment.deliver(viewed(5), callback(P + "remind", 6, "r3"))
    deployment.drain()
    SPOILS[what](state, poison)
    deployment.deliver(sent(), viewed(7), sent(request_id="r2"))
    for _ in range(3):
        go_on(deployment)
    look_at_everything(state, deployment)
    assert journal.types("r2") == ["sent"]


def refused(step: Callable[[], object]) -> Unavailable | None:
    try:
        step()
    except Unavailable as error:
        return error
    return None


@pytest.mark.parametrize("what", TURNED)
def test_a_key_of_another_type_is_moved_away_and_reported(state: Redis, what: str) -> None:
    """Law: nothing stands still for longer than the sweeper's look, and no call of another request is made twice."""
    journal = Journal()
    deployment = deploy(state, journal)
    deployment.deliver(viewed(5), callback(P + "remind", 6, "r3"))
    deployment.drain()
    turned = TURNED[what](state)
    for key in turned:
        turn(state, key)
    delivery = partial(deployment.deliver, sent(), viewed(7), sent(request_id="r2"))
    waits = refused(delivery) is not None  # then they stay with the bridge
    foreign = ForeignKeys(deployment.scripts)
    for _ in range(4):
        foreign.look()
        waits = waits and refused(delivery) is not None
        for step in (deployment.sweeper.once, partial(go_on, deployment)):
            refusal = refused(step)
            if refusal is not None:
                assert is_of_wrong_type(refusal), refusal
                suspect(state)  # as the worker process does
    foreign.look()
    look_at_everything(state, deployment)
    assert journal.types("r2") == ["sent"]
    moved = set(stages.survey(state).foreign_keys)
    assert moved <= set(turned)
    assert all(state.exists(keys.PREFIX + "foreign:" + key) for key in moved)


def test_every_key_of_the_table_has_its_type() -> None:
    """Law: each name that this module can make is of one type."""
    made = [
        keys.order(STREAM), keys.seen(STREAM), keys.dead("7"), keys.dead("seq"), keys.replay(1), keys.replay_done(1),
        keys.queue("a|s:x/1"), keys.queued(STREAM), keys.action("x", "ready"), keys.action("x", "tokens"),
        keys.lane("default", "idle"), keys.inbox(3), keys.letters("x/1"), keys.erased(STREAM), keys.budget("api", "a", "due"),
        keys.samples_turn(7), keys.SAMPLES_TOTALS, keys.EVENTS_ERASED, keys.event("f"), keys.claimed("b"), keys.bridged("b"),
        keys.probe("t"), keys.fetching(STREAM), keys.api_pause("a"), keys.alert_turn("d"), keys.CALLBACK_URL_WATCHED,
    ]  # fmt: skip
    assert [key for key in made if type_of(key) is None] == []
    assert type_of(keys.dead("seq")) == type_of(keys.replay(1)) == "string"
    assert (
        type_of(keys.replay_done(1)),
        type_of("another:key"),
        type_of("deedbox:foreign:deedbox:dead"),
    ) == ("hash", None, None)
