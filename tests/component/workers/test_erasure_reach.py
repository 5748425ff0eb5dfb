"""An erasure reaches every kind of key that the keyspace table has, or the table below says why it need not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from deedbox.ops.repair.pausing import Pauser
from deedbox.shared.archives.archiving import Archivist
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.redis import data_keys, keys
from deedbox.shared.redis.request_keys import Holdings
from deedbox.shared.redis.scripting import Scripts
from tests.component.vault.rings import OLD, use
from tests.component.workers.keyspace import everything, traces
from tests.component.workers.rig import Deployment, Journal, action, expire, expire_units, sent
from tests.component.workers.test_erasure import R1, busy, erase

pytestmark = pytest.mark.real_redis

_ROW: Final = re.compile(r"([a-z]\S.*?)  +(?:list|zset|hash|string|set|stream|all) ")

TABLE: Final = {
    name for line in (keys.__doc__ or "").splitlines() if (row := _ROW.match(line)) for name in row[1].split(", ")
}  # fmt: skip

ERASED: Final = {
    "action:<action>:ready", "action:<action>:waiting", "action:<action>:parked", "queue:<unit>", "queued:<stream>",
    "letters:<ordering key>", "order:<stream>", "seen:<stream>", "streams", "timeline:<stream>", "event:<fingerprint>",
    "quiet", "archive:<stream>", "key:<stream>", "wake:<shard>", "held", "dead:<id>", "replay:<n>", "replay:<n>:done",
    "events", "gaps:due", "confirm:due", "request:<stream>", "document:<stream>", "find:<term>",
    "finds:<stream>", "paused",
}  # fmt: skip
"""What the test fills with something of a request, and finds empty of it afterwards."""

ON_THE_WAY: Final = {"deedbox.raw", "bridge:claimed:<id>", "inbox:<shard>", "redrive"}
"""Callbacks that the tombstone drops as soon as they are read."""

MINUTES: Final = {
    "action:<action>:leased", "action:<action>:tokens", "fetching:<stream>", "workers:doing", "lost",
    "budget:<kind>:<account>:queue", "budget:<kind>:<account>:groups", "budget:<kind>:<account>:due",
}  # fmt: skip
"""Ids of what runs, or waits for its turn at the API: gone with the call. ``lost`` has fingerprints only."""

TOLD: Final = {"erased:<stream>", "audit", "alerts"}
"""What stays on purpose: the tombstone, the ids in what people did, and for two days at most alerts (``docs/retention.md``)."""

NAMELESS: Final = {
    "bridge:leases", "bridge:batch:<id>", "probe:<trace id>", "bridge:brokers", "action:<action>:calls", "depths",
    "shards:ready", "shards:leased", "shards:tokens", "lane:<lane>:idle", "lane:<lane>:bell", "subscriptions", "limits",
    "pause:seq", "declarations", "quota:<group>", "ring_keys", "dead", "dead:seq", "replay:seq", "counters", "calls",
    "spools", "intake", "sources", "evidence:<source>", "fence", "schema", "events:erased", "events:seq", "stores",
    "api:pause:<account>", "budget:<kind>:<account>:calls", "samples", "samples:totals", "samples:turn:<slot>",
    "callback_url:watched", "alerts:turn:<digest>", "restarts", "workers", "foreign_jobs", "foreign", "foreign:<key>",
    "foreign:suspected", "rq:queue:deedbox.<lane>",
}  # fmt: skip
"""What holds nothing of one request. ``foreign``: what another program wrote."""


def test_every_kind_of_key_is_in_one_of_the_tables() -> None:
    parts = (ERASED, ON_THE_WAY, MINUTES, TOLD, NAMELESS)
    assert set().union(*parts) == TABLE
    assert sum(map(len, parts)) == len(TABLE)


def _kinds(names: set[str]) -> set[str]:
    """Return the kinds of keys."""
    shapes = {
        kind: re.compile(
            re.escape(keys.PREFIX) + re.sub(r"<[^>]*>", "[^:]+" if kind[0] == "a" else ".+", kind)
        )
        for kind in TABLE
    }
    found = set()
    for name in names:
        fitting = [kind for kind, shape in shapes.items() if shape.fullmatch(name)]
        found.add(max(fitting, key=lambda kind: len(re.sub("<.*?>", "", kind))))
    return found


def test_an_erasure_empties_every_kind_of_key_of_its_request(state: Redis, tmp_path: Path) -> None:
    deployment, _ = busy(state)
    scripts, facts = Scripts(state), Holdings(state).facts(R1.stream)
    filled = _kinds(traces(state, "r1", *facts))
    use(OLD)
    data_keys.ensure(scripts, [R1.stream], 1000)
    use()
    Pauser(scripts).pause(PauseTarget(PauseKind.REQUEST, R1.stream), by="anna")
    expire_units(state, "waiting")
    deployment.sweeper.once()
    filled |= _kinds(traces(state, "r1", *facts))
    deployment.run()  # parks what the pause keeps
    order = ReplayOrder(("crm",), ReplaySpan(), R1.source, R1.ordering_key).dump()
    state.set(keys.REPLAY_SEQ, 1)
    state.set(keys.replay(1), order)
    state.hset(keys.replay_done(1), R1.stream, "x")
    state.zadd(keys.GAPS_DUE, {R1.stream: 1})
    state.zadd(keys.CONFIRM_DUE, {R1.stream: 1})
    state.set(keys.document(R1.stream), json.dumps({"of": R1.request_id}))
    filled |= _kinds(traces(state, "r1", *facts)) | {"events"}

    erase(state, tmp_path)

    assert traces(state, "r1", *facts) == {keys.erased(R1.stream)}
    clean = everything(state)[keys.EVENTS]
    assert not any(fact.encode() in clean for fact in facts)
    assert filled >= ERASED - {"archive:<stream>"}


def test_an_archived_request_is_erased_with_its_archive(state: Redis, tmp_path: Path) -> None:
    deployment = Deployment(state, action(Journal()))
    deployment.deliver(sent(0, "r1"), sent(0, "r2"))
    deployment.run()
    expire(state, keys.QUIET)
    Archivist(Scripts(state), 60).once()
    assert keys.archive(R1.stream) in traces(state, "r1")
    erase(state, tmp_path)
    assert traces(state, "r1") == {keys.erased(R1.stream)}
