"""The parts of waiting: one question to Redis for everybody, bounded seats, and nobody held for a client that is gone."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import fakeredis
import pytest
from redis import Redis

from deedbox.ops.web.api.watcher import Lifetime, Patience, Seats, Watcher


class Counting:
    """A Redis that counts its round trips, and what was asked in each."""

    def __init__(self) -> None:
        self.redis = fakeredis.FakeRedis()
        self.trips: list[int] = []
        self.looked = threading.Condition()

    def pipeline(self, *, transaction: bool) -> Any:
        pipe = self.redis.pipeline(transaction=transaction)
        execute = pipe.execute

        def counted() -> Any:
            with self.looked:
                self.trips.append(len(pipe.command_stack))
                self.looked.notify_all()
            return execute()

        pipe.execute = counted
        return pipe


def test_however_many_wait_redis_is_asked_once() -> None:
    counting = Counting()
    client: Any = counting
    watching = Watcher(lambda: client, interval_s=0.01)
    with ExitStack() as stack:
        watches = [stack.enter_context(watching.watching(("GET", f"key{n % 3}"), None)) for n in range(40)]
        with counting.looked:
            counting.trips.clear()
            assert counting.looked.wait_for(lambda: counting.trips, 10)
        counting.redis.set("key1", "x")
        assert watches[1].changed(10) == b"x"
        assert watches[0].changed(0) is None
    assert set(counting.trips[-1:]) == {3}
    assert watching.waiting == 0


def test_what_changed_before_the_first_look_is_news() -> None:
    redis: Redis = fakeredis.FakeRedis()
    redis.set("key", "new")
    with Watcher(lambda: redis, 0.01).watching(("GET", "key"), b"old") as watch:
        assert watch.changed(10) == b"new"


def test_seats_are_counted_and_given_back() -> None:
    seats = Seats(1)
    with seats.taken() as first, seats.taken() as second:
        assert (first, second) == (True, False)
    with seats.taken() as again:
        assert again


def test_patience_ends_with_its_time() -> None:
    now = [0.0]
    patience = Patience(0.3, lambda: False, Lifetime(), lambda: now[0])
    assert patience.left_s == pytest.approx(0.3)
    now[0] = 0.3
    assert patience.left_s == 0


def test_patience_ends_when_the_client_hangs_up() -> None:
    gone: list[bool] = []
    patience = Patience(60, lambda: bool(gone), Lifetime())
    assert patience.left_s > 0
    gone.append(True)
    assert patience.left_s == 0


def test_patience_ends_when_the_process_is_told_to_stop() -> None:
    lifetime = Lifetime()
    patience = Patience(60, lambda: False, lifetime)
    lifetime.over = lambda: True
    assert patience.left_s == 0
