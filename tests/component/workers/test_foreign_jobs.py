"""Data never chooses code: what anybody with write access to Redis puts into a lane's queue is dropped, unread."""

from __future__ import annotations

import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Callback, Queue
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.webhook import Webhook

from deedbox.ops.readmodels import stages
from deedbox.shared.redis import doorbells, keys
from deedbox.shared.redis.doorbells import Bells
from deedbox.workers import rq_worker
from deedbox.workers.doorbell import Doorbell
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import Deployment, Journal, action, sent
from tests.component.workers.server import until

QUEUE = keys.rq_queue("default")
REAL = pytest.mark.real_redis


class Detonator:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (self._command,)


def _queue(state: Redis, serializer: Any = JSONSerializer) -> Queue:
    return Queue(QUEUE, connection=state, serializer=serializer)


def _other_function(state: Redis, command: str) -> None:
    _queue(state).enqueue("os.system", command)


def _success_callback(state: Redis, command: str) -> None:
    _queue(state).enqueue(doorbells.JOB, "default", on_success=Callback("subprocess.getoutput"))
    _queue(state).enqueue(doorbells.JOB, "default", meta={"c": command}, on_success=Callback("os.system"))


def _failure_and_stop_callbacks(state: Redis, _command: str) -> None:
    hooks = {"on_failure": Callback("os.system"), "on_stopped": Callback("os.system")}
    _queue(state).enqueue(doorbells.JOB, "no such lane", **hooks)


def _webhook(state: Redis, _command: str) -> None:
    _queue(state).enqueue(
        doorbells.JOB, "default", webhooks=[Webhook(url="http://127.0.0.1:9/", job_status="finished")]
    )


def _pickled(state: Redis, command: str) -> None:
    _queue(state, DefaultSerializer).enqueue("os.system", command)
    job = _queue(state).enqueue(doorbells.JOB, "default")
    bomb = zlib.compress(pickle.dumps(Detonator(command)))
    state.hset(job.key, mapping={"data": bomb, "meta": bomb, "result": bomb})


def _method_of_an_instance(state: Redis, _command: str) -> None:
    job = _queue(state).enqueue(doorbells.JOB, "default")
    state.hset(job.key, "data", zlib.compress(json.dumps([doorbells.JOB, "text", ["default"], {}]).encode()))


def _further_arguments(state: Redis, _command: str) -> None:
    _queue(state).enqueue(doorbells.JOB, "default", "more")
    _queue(state).enqueue(doorbells.JOB, lane="default")


def _other_lane(state: Redis, _command: str) -> None:
    _queue(state).enqueue(doorbells.JOB, "documents")


def _garbage(state: Redis, _command: str) -> None:
    contents: list[dict[Any, Any]] = [
        {"data": b"\xff\xfe"}, {"x": b"\x00"}, {"data": b"", "created_at": b"never"},
    ]  # fmt: skip
    for number, content in enumerate(contents):
        state.hset(f"rq:job:garbage-{number}", mapping=content)
        state.rpush(f"rq:queue:{QUEUE}", f"garbage-{number}")
    job = _queue(state).enqueue(doorbells.JOB, "default")
    state.hset(job.key, mapping={"created_at": b"\xff", "timeout": b"soon"})


def _bomb(state: Redis, _command: str) -> None:
    job = _queue(state).enqueue(doorbells.JOB, "default")
    state.hset(job.key, "data", zlib.compress(b" " * 50_000_000))


def _no_hash(state: Redis, _command: str) -> None:
    state.set("rq:job:text", b"text")
    state.rpush(f"rq:queue:{QUEUE}", "text")


def _no_id(state: Redis, _command: str) -> None:
    state.rpush(f"rq:queue:{QUEUE}", b"\xff\xff", "../../etc/passwd")


FOREIGN = (
    _other_function, _success_callback, _failure_and_stop_callbacks, _webhook, _pickled, _method_of_an_instance,
    _further_arguments, _other_lane, _garbage, _bomb, _no_hash, _no_id,
)  # fmt: skip
Writer = Callable[[Redis, str], None]


@REAL
def test_nothing_that_somebody_writes_into_a_queue_is_run_and_the_worker_goes_on(
    fleet: Fleet, state: Redis, tmp_path: Path
) -> None:
    """All of it at once, to one real worker: afterwards it answers a doorbell, in the same process."""
    proof = tmp_path / "proof"
    worker = fleet.worker()
    deployment = Deployment(state, action(Journal(), name="act"))
    until(lambda: state.exists(keys.WORKERS), "the worker is there")
    for write in FOREIGN:
        write(state, f"touch {proof}")
    deployment.sequencer._ring = Bells(state).ring
    deployment.deliver(sent())
    deployment.drain()
    fleet.ended("r1")
    until(lambda: state.llen(f"rq:queue:{QUEUE}") == 0, "everything is taken")
    until(lambda: not state.exists(f"rq:queue:{QUEUE}:intermediate"), "and dropped")
    assert worker.poll() is None
    assert not proof.exists()
    assert stages.survey(state).counters["foreign_jobs"] >= len(FOREIGN)
    assert "job.foreign" in fleet.log()
    assert str(proof) not in fleet.log(1_000_000)


@REAL
@pytest.mark.parametrize("write", FOREIGN)
def test_what_is_no_doorbell_leaves_nothing_but_its_count(
    write: Writer, state: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr("rq.job.import_attribute", imported.append)
    drained: list[str] = []
    monkeypatch.setattr("deedbox.workers.doorbell.drain", drained.append)
    proof = tmp_path / "proof"
    write(state, f"touch {proof}")
    waiting = state.llen(f"rq:queue:{QUEUE}")
    worker = rq_worker.build("default", state, "w", lambda: None)
    worker.work(burst=True, logging_level="CRITICAL")
    assert (imported, drained, proof.exists()) == ([], [], False)
    assert state.llen(f"rq:queue:{QUEUE}") == 0
    assert not list(state.scan_iter("rq:job:*"))
    found = stages.survey(state)
    assert found.counters["foreign_jobs"] == found.foreign_jobs["default"]
    assert 0 < found.foreign_jobs["default"] <= waiting


@REAL
def test_maintenance_survives_lists_that_somebody_filled(
    state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign job in the lists of a dead worker goes; ids that cannot be read take the lists with them."""
    imported: list[str] = []
    monkeypatch.setattr("rq.job.import_attribute", imported.append)
    worker = rq_worker.build("default", state, "w", lambda: None)
    queue = worker.queues[0]
    hooks = {"on_failure": Callback("os.system"), "on_stopped": Callback("os.system")}
    jobs = [_queue(state).enqueue("os.system", "true", **hooks) for _ in range(2)]
    state.lmove(f"rq:queue:{QUEUE}", queue.intermediate_queue_key)
    state.set(queue.intermediate_queue.get_first_seen_key(jobs[0].id), 1)
    state.hset(jobs[1].key, "status", "started")
    state.zadd(queue.started_job_registry.key, {f"{jobs[1].id}:1": 1})
    worker.run_maintenance_tasks()
    assert not state.exists(queue.intermediate_queue_key, queue.started_job_registry.key)
    state.rpush(queue.intermediate_queue_key, b"\xff")
    state.zadd(queue.started_job_registry.key, {b"\xff": 1})
    worker.run_maintenance_tasks()
    assert not state.exists(queue.intermediate_queue_key, queue.started_job_registry.key)
    assert stages.survey(state).foreign_jobs == {"default": 1}
    assert imported == []


@REAL
def test_a_doorbell_of_our_own_is_answered_and_leaves_nothing(
    state: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained: list[str] = []
    monkeypatch.setattr("deedbox.workers.doorbell.drain", drained.append)
    Bells(state).ring("default")
    rq_worker.build("default", state, "w", lambda: None).work(burst=True, logging_level="CRITICAL")
    assert drained == ["default"]
    assert not list(state.scan_iter("rq:job:*"))
    assert stages.survey(state).foreign_jobs == {}


@REAL
def test_an_abandoned_doorbell_is_still_a_doorbell_to_maintenance(state: Redis) -> None:
    """RQ's own fields of a job that was started are no mark of a foreign one."""
    Bells(state).ring("default")
    worker = rq_worker.build("default", state, "w", lambda: None)
    taken = worker.queue_class.dequeue_any(
        worker.queues, None, connection=state, job_class=Doorbell, serializer=JSONSerializer
    )
    assert taken is not None
    job, queue = taken
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    again = Doorbell.fetch(job.id, connection=state, serializer=JSONSerializer)
    assert isinstance(again, Doorbell)
    assert (again.foreign, again.origin) == (False, queue.name)
