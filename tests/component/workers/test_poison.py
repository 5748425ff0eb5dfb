"""Any bytes in any stored value: no process ends, other requests go on, and what is wrong can be seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from deedbox.ops.readmodels import events, intake, request_search, requests, stages, timeline, web_reports
from deedbox.ops.readmodels.events import START, EventFilter
from deedbox.ops.repair.conflicts import Conflicts
from deedbox.ops.repair.deadletters import DeadLetters
from deedbox.ops.repair.history import History
from deedbox.ops.wording import trace_page
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.identity import shard_of
from deedbox.shared.core.ordering import OrderingPolicy
from deedbox.shared.records.replay_order import ReplaySpan
from deedbox.shared.redis import keys
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.workers.announcement import announce
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
    "index of requests": member(keys.REQUESTS),
    "replay": lambda redis, poison: (redis.set(keys.REPLAY_SEQ, 1), redis.set(keys.replay(1), poison)),
    "replay mark": lambda redis, poison: redis.hset(keys.replay_done(1), STREAM, poison),
    "redriven message": line(keys.REDRIVE),
    "mark of a spool": field(keys.SPOOLS),
    "counter": field(keys.COUNTERS),
    "counter of calls": field(keys.CALLS),
    "counter of entries": field(f"{keys.PREFIX}depths"),
    "entries of a stream": field(keys.queued(STREAM)),
}


def deploy(state: Redis, journal: Journal) -> Deployment:
    deployment = Deployment(state, action(journal), order=OrderingPolicy(hold_s=30), gap_after_s=0.01)
    deployment.registry.subscribed(P + "sent")
    return deployment


def look_at_everything(state: Any, deployment: Deployment) -> None:
    """Read what pages and commands show. A sentence for a person is an answer; any other exception is not."""
    stages.survey(state)
    found = timeline.read(state, "default", "signature_request/r1")
    for entry in found.entries if found else ():
        trace_page.told(entry)
        trace_page.subject(entry)
    requests.read(state, "default", "r1")
    request_search.search(state, ["default"], "r")
    intake.sources_of(state.hgetall(keys.SOURCES))
    intake.live_processes(state.hvals(keys.INTAKE), 1.0)
    web_reports.read(state)
    list(DeadLetters(deployment.scripts).newest_first())
    History(state).past(STREAM, ReplaySpan())
    History(state).streams("", ReplaySpan())
    holdings = Holdings(state)
    holdings.erased_at("default:signature_request/gone")
    holdings.letters(Subject("default", "signature_request/r1"))
    holdings.queued(STREAM)
    with contextlib.suppress(DeedboxError):
        holdings.unfinished_replays()
        Conflicts(deployment.scripts).of("default", "signature_request/r1")
    with contextlib.suppress(events.CursorExpired):
        page = events.read(state, START, EventFilter())
        events.with_payloads(state, page)


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
        announce(deployment.scripts, deployment.registry)  # as every process does again and again
        deployment.sweeper.once()
        announce(deployment.scripts, deployment.registry)  # as every process of a lane does again and again
        deployment.run()
    look_at_everything(state, deployment)
    assert journal.types("r2") == ["sent"]
