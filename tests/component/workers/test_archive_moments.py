"""Archiving and restoring, killed at every command and met by everything else at every command: nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
from redis import Redis

from deedbox.ops.repair.replay import Replayer
from deedbox.shared.archives import reading as archives
from deedbox.shared.archives.restoring import restore
from deedbox.shared.records.replay_order import ReplayOrder
from deedbox.shared.records.subscriptions import Subscription
from deedbox.shared.redis import keys, script_calls
from deedbox.shared.redis.request_keys import Holdings
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.builtins.track_status import registered
from tests.component.workers.keyspace import traces
from tests.component.workers.rig import (
    Deployment,
    Journal,
    P,
    action,
    expire,
    expire_units,
    sent,
    silent,
    viewed,
)
from tests.component.workers.stepped import Act, killed_at, steps_of, with_another_at
from tests.component.workers.test_archives import EVER, STREAM, archive, held, told
from tests.component.workers.test_erasure import R1, erase

pytestmark = pytest.mark.real_redis


class Saved:
    """All that a Redis holds, to be put back before each case."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        names = cast("list[bytes]", list(redis.scan_iter()))
        self._keys = [(name, max(redis.pttl(name), 0), redis.dump(name) or b"") for name in names]

    def put_back(self) -> None:
        pipe = self._redis.pipeline()
        pipe.flushall()
        for name, life, value in self._keys:
            pipe.restore(name, life, value)
        pipe.execute()


@pytest.fixture(autouse=True)
def unsynced(state: Redis) -> Iterator[None]:
    """Let Redis wait for no disk: it is the clients that are killed here, at some thousand commands."""
    state.config_set("appendfsync", "no")
    yield
    state.config_set("appendfsync", "always")


def settled(state: Redis) -> dict[str, Any]:
    """Return what every reader is told, without the time of reading."""
    found = told(state)
    found["timeline"] |= {"now": 0}
    return found


def values(state: Redis) -> dict[str, Any]:
    """Return every key of the stream."""
    return {name: value for name, (value, _) in held(state).items()}


def archiving(redis: Redis) -> None:
    archive(redis)


def restoring(redis: Redis) -> None:
    restore(Scripts(redis), (STREAM,))


def erasing(redis: Redis) -> None:
    erase(redis, Path("nowhere"), R1)


def replaying(redis: Redis) -> None:
    """Replay the request, or resume the replay that was killed."""
    order = ReplayOrder(("journal",), EVER, R1.source, R1.ordering_key)
    replayer = Replayer(Scripts(redis), silent)
    known = Subscription("journal", ("*",), "default")
    number = next(iter(Holdings(redis).unfinished_replays()), 0)
    replayer.carry_out(replayer.plan(order, (known,), number=number))


def arriving(redis: Redis) -> None:
    """Work off whatever is there: a process that was killed holds no lease any more."""
    expire(redis, keys.shards("leased"))
    expire_units(redis, "leased")
    deployment = Deployment(redis, action(CALLS), registered())
    deployment.sweeper.once()
    deployment.run()


CALLS: Final = Journal()
"""What the action is called with by any of the processes of a case."""

LATER: Final = (viewed(2), sent(title="Lease"), viewed(3))
"""Callbacks that come to an archived request: two new ones and a repeat."""


AGAIN: Final = ("retry", "action_lost")
"""What a killed process leaves in timelines and counters."""


def calls() -> list[tuple[str, str]]:
    """Return event and key of each call in their order. A call whose process was killed is made again, with its key."""
    found = [(event.type.removeprefix(P), context.idempotency_key) for event, context in CALLS.calls]
    return list(dict.fromkeys(found))


class Case:
    """One request, as it is before each moment, and whatever is done to it."""

    def __init__(self, state: Redis, *, archived: bool, waiting: bool = False) -> None:
        self.state = state
        self.deployment = Deployment(state, action(Journal()), registered())
        self.deployment.deliver(sent(title="Lease"), sent(title="Lease"), sent(title="another"))
        self.deployment.run()
        archiving(state)
        restoring(state)
        self.live = values(state)
        if archived:
            assert archive(state) == 1
        if waiting:
            self.deployment.deliver(*LATER)
        self._saved = Saved(state)

    def steps(self, act: Act) -> int:
        """Count the commands of an act."""
        self.put_back()
        return steps_of(self.state, act)

    def moments(self, act: Act) -> Iterator[int]:
        """Yield each command of an act, and its end; everything is as it was before."""
        for step in range(self.steps(act) + 1):
            self.put_back()
            yield step

    def put_back(self) -> None:
        """Begin anew."""
        self._saved.put_back()
        CALLS.calls.clear()

    def outcome(self) -> Any:
        """Return all that came of what was waiting: no time of day is in it."""
        arriving(self.state)
        restoring(self.state)
        kinds = Counter(line["kind"] for line in self.deployment.timeline())
        counters = self.deployment.counters()
        for found in (kinds, counters):
            for name in AGAIN:
                del found[name]
        return calls(), kinds, counters


@pytest.mark.parametrize("other", [archiving, restoring])
def test_a_reader_that_meets_an_archiving_or_a_restore_is_told_what_it_always_is(
    state: Redis, other: Act
) -> None:
    case = Case(state, archived=other is restoring)
    before = settled(state)
    for step in case.moments(told):
        assert with_another_at(state, step, settled, other) == before, step


def test_an_archiving_that_is_killed_at_any_command_leaves_everything_to_the_next(state: Redis) -> None:
    case = Case(state, archived=False)
    before = settled(state)
    for step in case.moments(archiving):
        killed_at(state, step, archiving)
        assert settled(state) == before, step
        assert archive(state) == 1, step
        assert settled(state) == before, step


def test_a_restore_that_is_killed_at_any_command_leaves_everything_to_the_next(state: Redis) -> None:
    case = Case(state, archived=True)
    for step in case.moments(restoring):
        killed_at(state, step, restoring)
        restoring(state)
        assert values(state) == case.live, step


@pytest.mark.parametrize("other", [None, archiving, restoring])
def test_a_later_callback_is_worked_off_once_and_in_order_whatever_is_killed_or_meets_it(
    state: Redis, other: Act | None
) -> None:
    case = Case(state, archived=True, waiting=True)
    case.put_back()
    expected = case.outcome()
    made, kinds, counters = expected
    assert [event for event, _ in made] == ["viewed", "viewed"]
    assert (kinds["duplicate"], kinds["conflict"], counters["duplicate"], counters["arrived"]) == (2, 1, 3, 6)
    for step in case.moments(arriving):
        _meet(state, step, arriving, other)
        assert case.outcome() == expected, step


@pytest.mark.parametrize("other", [None, archiving, restoring])
def test_a_replay_of_an_archived_request_makes_each_call_once_whatever_is_killed_or_meets_it(
    state: Redis, other: Act | None
) -> None:
    case = Case(state, archived=True)
    for step in case.moments(replaying):
        if _meet(state, step, replaying, other):
            replaying(state)
        made, *_ = case.outcome()
        assert [event for event, _ in made] == ["sent"], step


@pytest.mark.parametrize("other", [None, archiving, restoring, arriving])
def test_an_erasure_of_an_archived_request_leaves_nothing_whatever_is_killed_or_meets_it(
    state: Redis, other: Act | None
) -> None:
    case = Case(state, archived=True, waiting=other is arriving)
    facts = Holdings(state).facts(STREAM)
    for step in case.moments(erasing):
        if _meet(state, step, erasing, other):
            erasing(state)
        _nothing_is_left(state, facts, step)


@pytest.mark.parametrize("act", [archiving, restoring, arriving, replaying])
def test_whatever_meets_an_erasure_brings_nothing_back(state: Redis, act: Act) -> None:
    case = Case(state, archived=act is not archiving, waiting=act is arriving)
    for step in case.moments(act):
        with_another_at(state, step, act, erasing)
        arriving(state)
        _nothing_is_left(state, [], step)


def test_an_archive_has_what_was_written_while_it_was_made(state: Redis) -> None:
    """Also where another process made one meanwhile."""
    case = Case(state, archived=False, waiting=True)
    case.put_back()
    expected = case.outcome()
    for other in (arriving, archiving):
        for step in case.moments(archiving):
            with_another_at(state, step, archiving, other)
            assert case.outcome() == expected, (other, step)


def test_an_archive_has_the_terms_of_a_look_up_that_came_while_it_was_made(state: Redis) -> None:
    """The read model may stay as it was when the API shows the request under one name more."""
    case = Case(state, archived=False)
    model = cast("bytes", state.get(keys.request(STREAM)))

    kept: list[bool] = []

    def name(redis: Redis) -> None:
        done = script_calls.remember_request(
            Scripts(redis), stream=STREAM, value=model, life_s=1000, before=model, state="state", terms=("more",)
        )  # fmt: skip
        kept.append(done)

    for step in case.moments(archiving):
        with_another_at(state, step, archiving, name)
        assert not kept[-1] or "more" in archives.finds_of(state, STREAM), step
    assert kept.count(True) > 1


def _meet(state: Redis, step: int, act: Act, other: Act | None) -> bool:
    """Let another process do something before a command of an act, or kill it there. Returns whether it was killed."""
    if other is None:
        return killed_at(state, step, act)
    with_another_at(state, step, act, other)
    return False


def _nothing_is_left(state: Redis, facts: list[str], step: int) -> None:
    assert traces(state, R1.ordering_key, "Lease", *facts) == {keys.erased(STREAM)}, step
    assert not list(state.scan_iter(keys.PREFIX + "find*")), step
    clean = cast("list[Any]", state.xrange(keys.EVENTS))
    assert not clean, step
