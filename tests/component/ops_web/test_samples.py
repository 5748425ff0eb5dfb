"""The sampler, and the search, over a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.charts import samples
from deedbox.ops.installation import Installation
from deedbox.ops.readmodels import request_search
from deedbox.ops.web import beside
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.workers.builtins import track_status
from tests.component.ops_web.conftest import StartOps
from tests.component.workers.rig import Deployment, sent
from tests.component.workers.server import RedisServer, until

pytestmark = pytest.mark.real_redis

Install = Callable[[], Installation]


@pytest.fixture
def install(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Install:
    del state  # emptied
    environ = {"DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path)}
    return lambda: Installation(Settings.load(environ))


def tracking(state: Redis) -> Deployment:
    return Deployment(state, track_status.registered())


def test_many_ops_processes_take_one_sample_of_an_interval(install: Install, state: Redis) -> None:
    taken = [samples.take(install()) for _ in range(4)]
    assert taken[0]
    slots = state.xlen(keys.SAMPLES)
    assert taken.count(True) == slots <= 2  # the interval may have ended in between


def test_a_sample_has_every_stage_and_the_next_one_what_happened(
    install: Install, state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_800_000_000.0]
    monkeypatch.setattr(Installation, "now", lambda _self: clock[0])
    assert samples.take(install())
    deployment = tracking(state)
    deployment.deliver(sent(), sent())
    deployment.run()
    clock[0] += samples.INTERVAL_S
    assert samples.take(install())
    first, second = samples.read(state, 0)
    assert (first.span_s, first.depth["inbox"]) == (None, 0)
    assert (second.happened["released"], second.happened["duplicate"]) == (1, 1)


def test_a_process_that_was_slower_than_its_interval_counts_nothing_twice(
    install: Install, state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_800_000_010.0]
    monkeypatch.setattr(Installation, "now", lambda _self: clock[0])
    assert samples.take(install())
    clock[0] -= samples.INTERVAL_S
    assert not samples.take(install())
    assert state.xlen(keys.SAMPLES) == 1


def test_the_broker_may_be_away_while_a_sample_is_taken(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    environ = {"DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_DATA_DIR": str(tmp_path),
               "DEEDBOX_BROKER_URL": "redis://127.0.0.1:1/0"}  # fmt: skip
    assert samples.take(Installation(Settings.load(environ)))
    [found] = samples.read(state, 0)
    assert "broker" not in found.depth
    assert found.depth["inbox"] == 0


def test_a_thread_beside_lives_through_an_outage(tmp_path: Path) -> None:
    calls = threading.Semaphore(0)
    outages = iter([ConnectionError("away")] * 2)

    over, parked = threading.Event(), threading.Event()

    def take(_installation: Installation) -> None:
        if over.is_set():
            parked.set()
            threading.Event().wait()  # for ever: each look takes the settings' key ring, also from another test
        calls.release()
        error = next(outages, None)
        if error is not None:
            raise error

    beside.repeat(Settings.load({"DEEDBOX_DATA_DIR": str(tmp_path)}), "test", 0.01, take)
    assert all(calls.acquire(timeout=60) for _ in range(4))
    over.set()
    assert parked.wait(60)


def test_the_ops_process_samples_by_itself(start_ops: StartOps, state: Redis) -> None:
    start_ops()
    until(lambda: state.xlen(keys.SAMPLES), "a sample was taken")


def test_requests_are_found_by_id_and_by_any_part_of_the_title(state: Redis) -> None:
    deployment = tracking(state)
    deployment.deliver(
        sent(request_id="abc1", title="Office Lease ÄRZTEHAUS"), sent(request_id="def2", title="NDA")
    )
    deployment.deliver(sent(request_id="def2", title="NDA of sales"), source="sales")
    deployment.run()
    sources = ("default", "sales")

    def found(query: str) -> list[str]:
        return sorted(
            f"{hit.source}:{hit.identifier}" for hit in request_search.search(state, sources, query).hits
        )

    assert found("lease ärzte") == ["default:abc1"]
    assert found("ABC") == ["default:abc1"]
    assert found("def2") == ["default:def2", "sales:def2"]
    assert found("nda") == ["default:def2", "sales:def2"]
    assert found("") == ["default:abc1", "default:def2", "sales:def2"]
    assert found("nothing of it") == []


def test_the_index_of_titles_is_bounded(state: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REQUESTS_KEEP", 2)
    deployment = tracking(state)
    for number in range(4):
        deployment.deliver(sent(number, request_id=f"r{number}", title="Lease"))
        deployment.run()
    assert request_search.search(state, ("default",), "lease").searched == 2
