"""Real processes: kills, stops and restarts while they work."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from deedbox.shared.redis.doorbells import Bells
from deedbox.workers.sequencer.shard_claim import ShardClaim
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import (
    CREATED_AT,
    TRACE,
    Deployment,
    Journal,
    P,
    action,
    callback,
    expire,
    expire_units,
    sent,
    viewed,
)
from tests.component.workers.server import RedisServer, until
from tests.support.stored import event_at

pytestmark = pytest.mark.real_redis

RESUMES_WITHIN_S = 15.0
"""Promised after a SIGKILL."""


def _feed(state: Redis) -> Deployment:
    """Return a sequencer in this process, so that a test needs fewer others."""
    deployment = Deployment(state, action(Journal(), name="act"))
    deployment.sequencer._ring = Bells(state).ring
    return deployment


def _send(deployment: Deployment, *bodies: bytes) -> None:
    deployment.deliver(*bodies)
    deployment.drain()


def test_a_key_goes_on_soon_after_its_process_was_killed_in_a_call(fleet: Fleet, state: Redis) -> None:
    """Another process runs the call again with the same idempotency key, before the key's next event."""
    workers = {worker.pid: worker for worker in (fleet.worker(), fleet.worker())}
    fleet.start("sweeper")
    deployment = _feed(state)
    fleet.hold("r1")
    _send(deployment, sent(), viewed(1))
    began = fleet.began("r1")
    workers[began.pid].kill()
    killed_at = time.monotonic()
    _send(deployment, sent(request_id="r2"))
    fleet.ended("r2")
    fleet.let_go("r1")
    again = fleet.began("r1", times=2)
    assert time.monotonic() - killed_at < RESUMES_WITHIN_S
    assert again.idempotency_key == began.idempotency_key
    assert [note.event_type for note in fleet.ended("r1", times=2)] == [P + "sent", P + "viewed"]
    until(lambda: deployment.left() == 0, "everything is committed")
    assert deployment.counters()["action_done"] == 3


def test_another_keys_event_starts_while_a_call_takes_long(fleet: Fleet, state: Redis) -> None:
    fleet.worker()
    fleet.worker()
    deployment = _feed(state)
    fleet.hold("slow")
    _send(deployment, sent(request_id="slow"))
    fleet.began("slow")
    # Together, so that one claim could take them all, and again one by one.
    _send(deployment, *(sent(request_id=f"x{number}") for number in range(5)))
    for number in range(5, 8):
        _send(deployment, sent(request_id=f"x{number}"))
        fleet.ended(f"x{number}")
    until(lambda: len(fleet.notes("ended")) == 8, "all others ended")
    assert not fleet.notes("ended", "slow")
    fleet.let_go("slow")
    fleet.ended("slow")


def test_a_stop_in_the_middle_of_work_strands_nothing(fleet: Fleet, state: Redis) -> None:
    """The call that runs is finished; what waits goes to the other process, without a sweeper."""
    first, second = fleet.worker(), fleet.worker()
    deployment = _feed(state)
    fleet.hold("r0")
    fleet.hold("r1")
    _send(deployment, *(sent(request_id=f"r{number}") for number in range(40)))
    busy = {fleet.began("r0").pid, fleet.began("r1").pid}
    assert busy == {first.pid, second.pid}
    first.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    first.send_signal(signal.SIGINT)  # Ctrl-C reaches the process from the terminal and from its supervisor
    time.sleep(0.1)
    assert first.poll() is None
    fleet.let_go("r0")
    fleet.let_go("r1")
    assert first.wait(10) == 0
    until(lambda: deployment.left() == 0, "the other one did the rest")
    assert len(fleet.notes("began")) == 40
    second.send_signal(signal.SIGINT)
    assert second.wait(10) == 0
    assert state.llen(f"rq:queue:{keys.rq_queue('default')}:intermediate") == 0


def test_a_worker_lives_through_a_restart_of_redis_in_the_middle_of_a_call(
    fragile: RedisServer, tmp_path: Path
) -> None:
    fleet = Fleet(fragile, tmp_path)
    try:
        worker = fleet.worker()
        with fragile.client() as state:
            fleet.hold("r1")
            _send(_feed(state), sent(), viewed(1))
        fleet.began("r1")
        fragile.kill()
        fleet.let_go("r1")
        fleet.ended("r1")
        fragile.start()
        fleet.ended("r1", times=2)
        with fragile.client() as state:
            deployment = _feed(state)
            until(lambda: deployment.left() == 0, "both outcomes are committed")
            assert deployment.counters()["action_done"] == 2
            _send(deployment, sent(request_id="r2"))
            fleet.ended("r2")
        assert [note.event_type for note in fleet.notes("began", "r1")] == [P + "sent", P + "viewed"]
        assert worker.poll() is None
    finally:
        fleet.close()


def _expire(state: Redis) -> None:
    """Let ten seconds pass for the sequencer's leases."""
    expire(state, keys.shards("leased"))


def test_sequencers_killed_in_the_middle_of_batches_lose_nothing_and_keep_the_order(
    fleet: Fleet, state: Redis
) -> None:
    deployment = _feed(state)
    deployment.sweeper._ring = Bells(state).ring
    rng = random.Random(1)
    workers = [fleet.worker(keys.SEQUENCER) for _ in range(3)]
    # Several requests of one shard, and several shards.
    bodies = [callback("e", number, f"r{number % 40}") for number in range(5_000)]
    until(lambda: state.scard("rq:workers") == 3, f"three sequencers\n{fleet.log()}")
    for start in range(0, len(bodies), 1000):
        deployment.deliver(*bodies[start : start + 1000])
        deployment.sweeper.once()
        if start in {1000, 3000}:
            time.sleep(rng.uniform(0.01, 0.05))
            workers.pop().kill()
    inboxes = [keys.inbox(shard) for shard in range(16)]
    _expire(state)

    def drained() -> bool:
        deployment.sweeper.once()
        return not state.exists(*inboxes)

    until(drained, f"every shard is drained\n{fleet.log()}")
    for number in range(40):
        unit = f"act|default:signature_request/r{number}"
        entries = cast("list[bytes]", state.lrange(keys.queue(unit), 0, -1))
        heads = [event_at(state, keys.event(entry[:32].decode())) for entry in entries]
        times = [head.event_time - CREATED_AT for head in heads]
        assert times == list(range(number, 5_000, 40))
    assert deployment.counters()["released"] == 5_000
    assert deployment.counters()["duplicate"] == 0


def test_sequencers_side_by_side_violate_no_order(redis_server: RedisServer, state: Redis) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal, name="act"))
    done = threading.Event()

    def drain(name: str) -> None:
        with redis_server.client() as client:
            sequencer = Deployment(client, action(Journal(), name="act")).sequencer
            while not done.is_set():
                if not sequencer.drain_one(name):
                    time.sleep(0.002)

    threads = [threading.Thread(target=drain, args=(f"t{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for start in range(0, 3000, 50):
        deployment.deliver(*(callback("e", number, f"r{number % 7}") for number in range(start, start + 50)))
    until(lambda: deployment.counters()["released"] == 3000, "all are released")
    done.set()
    for thread in threads:
        thread.join()
    deployment.work()
    assert len(journal.calls) == 3000
    for number in range(7):
        times = [event.time for event, _ in journal.calls if event.signature_request_id == f"r{number}"]
        assert times == sorted(times)
    assert deployment.counters()["late"] == 0


def test_a_paused_sequencer_whose_shard_was_taken_over_writes_nothing(state: Redis) -> None:
    deployment = _feed(state)
    deployment.deliver(sent())
    paused = deployment.sequencer
    claimed = deployment.scripts.call("claim_shard", "", "paused", 10, 3, 250, 1 << 20)
    _expire(state)
    deployment.sweeper.once()
    deployment.deliver(viewed(1))
    deployment.drain()
    shard, token, _, now, entries, *_ = claimed
    assert paused.commit(ShardClaim(shard.decode(), token.decode(), float(now), entries, [])) is None
    deployment.work()
    assert deployment.counters()["released"] == 2
    assert deployment.counters()["action_done"] == 2


def test_a_lane_that_no_action_names_is_one_sentence(fleet: Fleet) -> None:
    process = fleet.worker("nowhere")
    assert process.wait(20) == 2
    assert "No registered action names the lane nowhere; the lanes are sequencer, default." in fleet.log()


def test_what_an_action_logs_is_shown_from_info_on_with_its_trace_id(fleet: Fleet, state: Redis) -> None:
    fleet.worker()
    _send(_feed(state), sent())
    fleet.ended("r1")
    until(lambda: '"seen"' in fleet.log(), "the line is written")
    [seen] = [json.loads(line) for line in fleet.log(100_000).splitlines() if '"seen"' in line]
    assert (seen["level"], seen["logger"], seen["trace_id"]) == ("info", "fleet_actions", TRACE)


def test_a_type_that_looks_misspelled_is_said_at_start(fleet: Fleet, tmp_path: Path) -> None:
    module = tmp_path / "fleet_actions.py"
    module.write_text(module.read_text().replace('"*"', '"signature_request_singed"'))
    fleet.worker()
    until(lambda: "did you mean signature_request_signed?" in fleet.log(), "the warning")


def test_a_second_request_to_stop_ends_the_call_and_uses_no_attempt(fleet: Fleet, state: Redis) -> None:
    worker = fleet.worker()
    deployment = _feed(state)
    fleet.hold("r1")
    _send(deployment, sent())
    fleet.began("r1")
    worker.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    fleet.let_go("r1")
    expire_units(state, "leased")
    deployment.sweeper.once()
    deployment.work()
    done = [line for line in deployment.timeline() if line["kind"] == "action"]
    assert [line["attempt"] for line in done] == [1]


def test_processes_that_are_told_to_stop_while_redis_is_away_end(
    fragile: RedisServer, tmp_path: Path
) -> None:
    """The wait for a lost Redis is long; a stop must not have to wait for it."""
    fleet = Fleet(fragile, tmp_path)
    try:
        processes = [fleet.worker(), fleet.start("bridge"), fleet.start("sweeper")]
        until(
            lambda: "started" in fleet.log() and fleet.log().count(".started") >= len(processes),
            "all started",
        )
        fragile.kill()
        time.sleep(1)  # each has noticed
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(20) for process in processes] == [0, 0, 0]
    finally:
        fleet.close()
