"""What time removes by itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.core.request_snapshot import term
from deedbox.shared.documents import DocumentStore, FileTree
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.request_keys import Holdings, Subject
from deedbox.shared.redis.scripting import Scripts
from deedbox.shared.retention import DAY_S, Retention
from deedbox.workers.builtins.track_status import registered
from tests.component.workers.keyspace import everything, traces
from tests.component.workers.rig import Deployment, Journal, action, sent, viewed
from tests.component.workers.server import until

pytestmark = pytest.mark.real_redis

R1, R2 = Subject("default", "signature_request/r1"), Subject("default", "signature_request/r2")
NAME = "Jane Doe"


def test_after_the_retention_time_nothing_of_a_finished_request_remains(state: Redis) -> None:
    """Every key that names a request, or one of its events, ends by itself, and not before the promised 7 days."""
    journal = Journal()
    deployment = Deployment(state, action(journal), registered())
    deployment.deliver(sent(title=NAME), sent(title="another"), viewed(3, title=NAME))
    deployment.run()
    facts = Holdings(state).facts(R1.stream)
    # The sweeper takes what has expired out of the index of streams, and what it archives out of that of the quiet ones.
    indexes = {keys.STREAMS, keys.QUIET}
    about = traces(state, "r1", NAME, *facts) - indexes
    assert len(about) == len(facts) + 7
    lives = {name: int(state.ttl(name)) for name in about}
    assert all(7 * DAY_S < life <= 14 * DAY_S for life in lives.values()), lives
    for name in about:
        state.pexpire(name, 1)
    assert _settled(state, about) == set()
    assert traces(state, "r1", NAME, *facts) <= indexes


def test_a_look_up_forgets_a_request_when_its_state_has_expired(state: Redis) -> None:
    deployment = Deployment(state, registered())
    deployment.deliver(sent(0, "r1"), sent(0, "r2"))
    deployment.run()
    found = keys.find(term("default", "state", "sent"))
    state.zincrby(found, -15 * DAY_S, R1.request_id)
    deployment.deliver(sent(0, "r3"))
    deployment.run()
    assert state.zrange(found, 0, -1) == [R2.request_id.encode(), b"r3"]


def _settled(state: Redis, names: Iterable[str]) -> set[str]:
    until(lambda: not any(state.exists(name) for name in names), "they expired")
    return {name for name in names if state.exists(name)}


def test_what_is_left_when_nothing_waits_does_not_grow_with_the_number_of_requests(state: Redis) -> None:
    def permanent(count: int) -> set[str]:
        deployment = Deployment(state, action(Journal()), registered())
        deployment.deliver(*(sent(0, f"{count}-{number}") for number in range(count)))
        deployment.run()
        return {name for name in everything(state) if state.ttl(name) == -1}

    permanent(1)
    assert permanent(2) == permanent(40)


def test_the_settings_reach_every_key_and_a_change_at_its_next_touch(state: Redis, tmp_path: Path) -> None:
    short, long = Retention(9 * DAY_S, 8 * DAY_S), Retention(30 * DAY_S, 20 * DAY_S)
    for retention in (short, long):
        deployment = Deployment(state, action(Journal()), registered(), retention=retention)
        deployment.deliver(sent(0 if retention is short else 5, title=NAME))
        deployment.run()
        for kind in (keys.order, keys.seen, keys.timeline, keys.request):
            assert retention.state_s - 60 < int(state.ttl(kind(R1.stream))) <= retention.state_s
        lives = sorted(int(state.ttl(keys.event(fact))) for fact in Holdings(state).facts(R1.stream))
        assert retention.events_s - 60 < lives[-1] <= retention.events_s
    eraser = Eraser(Scripts(state), DocumentStore(FileTree(tmp_path)), short)
    eraser.erase(R1, documents=False, by=Asker.OPERATOR)
    assert 0 < int(state.ttl(keys.erased(R1.stream))) <= short.state_s
