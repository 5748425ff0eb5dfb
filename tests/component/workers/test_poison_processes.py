"""Poison in every stored form at once, with the real processes: none ends, another request goes on, and people are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from tests.component.ops_web.conftest import TOKEN, Ops, running_ops
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import P, callback, message, sent, viewed
from tests.component.workers.server import RedisServer, until
from tests.component.workers.test_poison import SPOILS, STREAM, TURNED, turn

pytestmark = [pytest.mark.real_redis, pytest.mark.timeout(240)]


@pytest.fixture
def ops(redis_server: RedisServer, fleet: Fleet, tmp_path: Path) -> Iterator[Ops]:
    del fleet  # it wants an empty server
    with running_ops(redis_server.url, tmp_path / "ops") as running:
        yield running


def poisoned(value: bytes) -> Callable[[Any], None]:
    def spoil(state: Any) -> None:
        for each in SPOILS.values():
            each(state, value)

    return spoil


def of_another_type(state: Any) -> None:
    for keys_of in TURNED.values():
        for key in keys_of(state):
            turn(state, key)


@pytest.mark.parametrize(
    "spoil",
    [poisoned(b"\xff\xfe\x00"), poisoned(b'["a",[],{}]'), of_another_type],
    ids=["bytes", "list", "types"],
)
def test_no_process_ends_and_other_requests_go_on(
    ops: Ops, fleet: Fleet, state: Redis, spoil: Callable[[Any], None]
) -> None:
    def receive(*bodies: bytes) -> None:
        state.lpush(keys.RAW_QUEUE, *map(message, bodies))

    processes = [fleet.start("bridge"), fleet.worker("sequencer"), fleet.worker()]
    receive(viewed(5), callback(P + "remind", 6, "r3"))
    fleet.ended("r3")
    until(lambda: state.exists(keys.order(STREAM)), "the first one is held")
    spoil(state)
    processes.append(fleet.start("sweeper"))  # now: what repairs it must be able to start there
    receive(sent(), viewed(7), sent(request_id="r2"))
    fleet.ended("r2")
    assert len(fleet.notes("began", "r2")) == 1
    assert [process.poll() for process in processes] == [None] * len(processes), fleet.log()
    for path in (
        "/",
        "/live/overview",
        "/dead",
        "/api/queues",
        "/metrics",
        "/requests/r1",
        "/api/requests/r1",
    ):
        assert ops.request("GET", path, token=TOKEN).status in {200, 404, 503}, path
    assert ops.process.poll() is None
    until(lambda: _overview(ops), "the overview is there again")
    if spoil is of_another_type:
        # The sweeper finds the keys one after the other, when somebody has met one: at its own pace.
        until(lambda: "held what Deedbox does not write" in _overview(ops), "people are told")
        until(lambda: "key.foreign" in fleet.log(1_000_000), "the sweeper has written of it")
    receive(sent(request_id="r4"))
    fleet.ended("r4")


def _overview(ops: Ops) -> str:
    """Return the page; empty if it does not work now."""
    answer = ops.request("GET", "/", token=TOKEN)
    return answer.data.decode() if answer.status == 200 else ""
