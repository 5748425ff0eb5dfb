"""What alerts tell about work that no living process will do."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest

from deedbox.shared.records import presence
from deedbox.shared.records.presence import Presence
from deedbox.shared.records.subscriptions import Subscription, Subscriptions
from deedbox.shared.redis import keys
from deedbox.workers.sweeper.staffing import PATIENCE_S, Missing, Staffing


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def redis() -> Iterator[fakeredis.FakeRedis]:
    """Lend a Redis in which the action crm of lane sales is declared, and old is not."""
    with fakeredis.FakeRedis() as client:
        declared = Subscriptions((Subscription("crm", ("*",), "sales"),))
        client.hset(keys.SUBSCRIPTIONS, mapping={"generation": 1, "actions": declared.dump()})
        yield client


def test_a_lane_with_work_and_no_worker_is_missing_after_a_while(redis: fakeredis.FakeRedis) -> None:
    clock = Clock()
    staffing = Staffing(redis, clock)
    redis.hset(keys.DEPTHS, "crm", 3)
    assert staffing.missing() == Missing((), ())
    clock.now += PATIENCE_S
    assert staffing.missing() == Missing(("sales",), ())
    redis.zadd(keys.WORKERS, {"w1": float(redis.time()[0]) + 10})
    redis.hset(keys.WORKERS_DOING, "w1", presence.dump(Presence("sales")))
    assert staffing.missing() == Missing((), ())


def test_an_empty_lane_needs_no_worker(redis: fakeredis.FakeRedis) -> None:
    clock = Clock()
    staffing = Staffing(redis, clock)
    redis.hset(keys.DEPTHS, "crm", 0)
    staffing.missing()
    clock.now += 10 * PATIENCE_S
    assert staffing.missing() == Missing((), ())


def test_a_restart_is_not_told(redis: fakeredis.FakeRedis) -> None:
    """Each absence counts from its own beginning."""
    clock = Clock()
    staffing = Staffing(redis, clock)
    for depth in (3, 0, 3):
        redis.hset(keys.DEPTHS, "crm", depth)
        assert staffing.missing() == Missing((), ())
        clock.now += PATIENCE_S - 1


def test_calls_that_no_process_declares_are_missing_by_the_name_of_their_action(
    redis: fakeredis.FakeRedis,
) -> None:
    clock = Clock()
    staffing = Staffing(redis, clock)
    redis.hset(keys.DEPTHS, "old", 2)
    staffing.missing()
    clock.now += PATIENCE_S
    assert staffing.missing() == Missing((), ("old",))
