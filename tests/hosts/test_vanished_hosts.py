"""A host that vanishes without a word stops the others for ten seconds at most, and loses nothing."""

from __future__ import annotations

import time
from functools import partial

import pytest
import urllib3

from tests.hosts.deployment import OPS_PORT, WEB_PORT, Deployment, on
from tests.hosts.traffic import playing

pytestmark = [pytest.mark.e2e, pytest.mark.hosts, pytest.mark.real_redis, pytest.mark.timeout(300)]

SILENCE_S = 13.0
"""Ten seconds, and what a busy machine adds."""


def _urls(deployment: Deployment) -> list[str]:
    return [f"http://{deployment.web('web1').address}:{WEB_PORT}/callbacks"]


@pytest.mark.rabbitmq
def test_with_rabbitmq_a_worker_host_that_vanishes_costs_ten_seconds_at_most(on_rabbitmq: Deployment) -> None:
    work1, _ = on_rabbitmq.workers("work1"), on_rabbitmq.workers("work2")
    with playing(on_rabbitmq, _urls(on_rabbitmq), seconds=30, seed=2, disorder=0) as finished:
        time.sleep(5)
        at = time.time()
        work1.cut_off()
        time.sleep(20)
        work1.reconnect()
        outcomes = finished()
    assert (outcomes.lost, outcomes.twice, outcomes.inversions) == (set(), 0, 0)
    assert outcomes.longest_silence_s(at, at + 20) < SILENCE_S
    assert outcomes.longest_delay_s < SILENCE_S, "the host had callbacks with it"


def test_with_redis_a_worker_host_that_vanishes_costs_ten_seconds_at_most(on_redis: Deployment) -> None:
    work1, _ = on_redis.workers("work1"), on_redis.workers("work2")
    with playing(on_redis, _urls(on_redis), seconds=30, seed=3, disorder=0) as finished:
        time.sleep(5)
        at = time.time()
        work1.cut_off()
        time.sleep(20)
        work1.reconnect()
        outcomes = finished()
    assert (outcomes.lost, outcomes.twice, outcomes.inversions) == (set(), 0, 0)
    assert outcomes.longest_silence_s(at, at + 20) < SILENCE_S
    assert outcomes.longest_delay_s < SILENCE_S


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_after_the_redis_host_is_back_work_goes_on_within_ten_seconds(on_redis: Deployment, how: str) -> None:
    [state] = [host for host in on_redis.network.hosts if host.name == "state"]
    on_redis.workers("work1")
    with playing(on_redis, _urls(on_redis), seconds=25, seed=4) as finished:
        time.sleep(4)
        if how == "killed":
            state.kill()
        else:
            state.cut_off()
            time.sleep(10)
            state.reconnect()
        back = time.time()
        outcomes = finished()
    assert {each.status for each in outcomes.answers} == {200}
    assert max(each.took_s for each in outcomes.answers) < 5
    assert (outcomes.lost, outcomes.twice, outcomes.inversions) == (set(), 0, 0)
    assert min(at for at in outcomes.call_times if at > back) - back < SILENCE_S


def test_without_redis_ops_answers_within_three_seconds_and_workers_stop_within_their_grace(
    on_redis: Deployment,
) -> None:
    [state] = [host for host in on_redis.network.hosts if host.name == "state"]
    ops = on_redis.ops("ops")
    on_redis.workers("work1")
    time.sleep(3)
    state.cut_off()

    def ask(path: str) -> float:
        started = time.monotonic()
        with urllib3.PoolManager(retries=False, timeout=20) as connections:
            url = f"http://{ops.address}:{OPS_PORT}{path}"
            connections.request("GET", url, headers={"Authorization": f"Bearer {'a' * 64}"})
        return time.monotonic() - started

    took = {
        path: on(on_redis.sender, partial(ask, path)) for path in ("/api/queues", "/metrics", "/", "/healthz")
    }
    assert {path: seconds for path, seconds in took.items() if seconds > 4} == {}

    started = time.monotonic()
    before = {name: kept.starts for name, kept in on_redis.kept.items() if name.startswith("work1")}
    for name in before:
        on_redis.kept[name].terminate()
    while any(on_redis.kept[name].starts == before[name] for name in before):
        assert time.monotonic() - started < 12, "a worker did not stop within its grace"
        time.sleep(0.1)
