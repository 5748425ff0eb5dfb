"""Calls that do not return, on real processes: each costs an attempt or a process of its lane for seconds, never the lane."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest
from redis import Redis

from deedbox.ops.readmodels.attention import AttentionKind
from deedbox.ops.readmodels.broker import BrokerView
from deedbox.ops.readmodels.stages import Stage, survey
from deedbox.ops.readmodels.status import Status
from deedbox.shared.redis import keys
from deedbox.shared.redis.doorbells import Bells
from deedbox.workers.actions.interface import Context, Event
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import Deployment, action, sent
from tests.component.workers.server import RedisServer, until

pytestmark = [pytest.mark.real_redis, pytest.mark.timeout(180)]

ANOTHER_RUNS_WITHIN_S: Final = 15.0
"""Promised: another request's event on a lane of which every process hangs."""

NOT_ALIVE_AFTER_S: Final = 15.0
"""Promised: a process that was killed."""

HEALTHY: Final = BrokerView(Stage(0), Stage(0), bridges=1)

GRACE_S: Final = 10.0
"""Promised: from SIGTERM to the end of a process."""

MODULE: Final = """
import asyncio, ctypes, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from deedbox import action

FOLDER = Path(os.environ["FLEET_FOLDER"])

def note(what, event, context):
    with (FOLDER / "journal").open("a") as journal:
        journal.write(f"{what} {event.signature_request_id} {event.type} {context.idempotency_key} {os.getpid()}\\n")

def pool():
    with ThreadPoolExecutor() as threads:
        threads.submit(threading.Event().wait).result()      # the line of the pool

def lock():
    gate = threading.Lock()
    gate.acquire()
    while True:
        try:
            gate.acquire()
        except BaseException:
            pass

def bare():
    while True:
        try:
            time.sleep(1)
        except:
            pass

def alarm():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(1000)
    while True:
        time.sleep(1)

def twice(library):
    mutex = ctypes.create_string_buffer(128)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)       # no signal ends this

def released():
    twice(ctypes.CDLL(None))

def kept():
    twice(ctypes.PyDLL(None))

def held():
    ctypes.PyDLL(None).sleep(5)             # keeps the interpreter, and returns

def crash():
    os._exit(3)

async def awaiting():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

@action("*", name="act", timeout_s=int(os.environ.get("LIMIT_S", "2")), attempts=1)
def act(event, context):
    note("began", event, context)
    kind = event.signature_request_id.partition("-")[0]
    if kind == "awaiting":
        return awaiting()
    if kind == "long":
        time.sleep(1.5)
    elif kind == "slow":
        until = time.monotonic() + 30
        while time.monotonic() < until and not (FOLDER / "go").exists():
            time.sleep(0.05)
    elif kind in globals():
        globals()[kind]()
    note("ended", event, context)
"""


class Kept:
    """A lane's processes, and their supervisor, which starts another for each that ends."""

    def __init__(self, fleet: Fleet, count: int) -> None:
        self._fleet = fleet
        self._over = threading.Event()
        self.processes = [fleet.worker() for _ in range(count)]
        self.statuses: list[int] = []
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _keep(self) -> None:
        while not self._over.wait(0.1):
            for number, process in enumerate(self.processes):
                status = process.poll()
                if status is not None:
                    self.statuses.append(status)
                    self.processes[number] = self._fleet.worker()

    def close(self) -> list[subprocess.Popen[bytes]]:
        """Start no more. Returns what runs."""
        self._over.set()
        self._thread.join()
        return self.processes


@pytest.fixture
def hanging(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Fleet]:
    assert state is not None
    fleet = Fleet(redis_server, tmp_path, module=MODULE)
    yield fleet
    fleet.close()


@pytest.fixture
def patient(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[Fleet]:
    """Lend processes whose calls may take long."""
    assert state is not None
    fleet = Fleet(redis_server, tmp_path, module=MODULE, LIMIT_S="60")
    yield fleet
    fleet.close()


def _nothing(_event: Event, _context: Context) -> None: ...


def _deployment(state: Redis) -> Deployment:
    deployment = Deployment(state, action(_nothing, name="act"))
    deployment.sequencer._ring = Bells(state).ring
    return deployment


def _send(deployment: Deployment, *request_ids: str) -> None:
    deployment.deliver(*(sent(request_id=each) for each in request_ids))
    deployment.drain()


@pytest.mark.parametrize("kind", ["pool", "lock", "bare", "alarm", "released", "awaiting"])
def test_two_hung_calls_on_a_lane_of_two_processes_cost_two_attempts(
    hanging: Fleet, state: Redis, kind: str
) -> None:
    lane = Kept(hanging, 2)
    hanging.start("sweeper")
    deployment = _deployment(state)
    try:
        _send(deployment, f"{kind}-1", f"{kind}-2")
        hanging.began(f"{kind}-1")
        hanging.began(f"{kind}-2")
        hung_at = time.monotonic()
        _send(deployment, "quick")
        hanging.ended("quick")
        assert time.monotonic() - hung_at < ANOTHER_RUNS_WITHIN_S
        until(lambda: len(deployment.letters()) == 2, "each attempt is counted")
    finally:
        lane.close()
    for letter in deployment.letters():
        assert letter["reason"] == b"attempts_exhausted"
        assert letter["detail"].startswith(b"ActionTimeout: ")
        assert kind.encode() in letter["traceback"], "the line of the application where it stands"
    assert len(hanging.notes("began", f"{kind}-1")) == 1
    assert lane.statuses == [70, 70]
    assert "fleet_actions.py:" in hanging.log()


def test_a_call_that_keeps_the_interpreter_costs_its_process_only(hanging: Fleet, state: Redis) -> None:
    """No thread of ours can commit its attempt then: it counts as a loss."""
    lane = Kept(hanging, 2)
    hanging.start("sweeper")
    deployment = _deployment(state)
    try:
        _send(deployment, "kept-1", "kept-2")
        hanging.began("kept-1")
        hanging.began("kept-2")
        hung_at = time.monotonic()
        _send(deployment, "quick")
        hanging.ended("quick")
        assert time.monotonic() - hung_at < ANOTHER_RUNS_WITHIN_S
        assert "in kept" in hanging.log(100_000), "where every thread stood"
        hanging.began("kept-1", times=2)
        until(
            lambda: "lost" in [line.get("outcome") for line in deployment.timeline("kept-1")], "it is a loss"
        )
    finally:
        lane.close()


CLAIMS_MANY = """
from deedbox.workers.lanes import runner

runner.next_size = lambda *_: 64     # as after many fast calls
"""


def test_what_waits_behind_a_call_that_keeps_the_interpreter_runs_elsewhere_meanwhile(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    """Law: claimed and not begun is anybody's after a second or two. Nothing is run twice, and the call that lasts is not lost."""
    fleet = Fleet(redis_server, tmp_path, module=CLAIMS_MANY + MODULE, LIMIT_S="60")
    deployment = _deployment(state)
    behind = [f"x{number}" for number in range(20)]
    try:
        fleet.worker()
        fleet.worker()
        fleet.start("sweeper")
        _send(deployment, "slow-1")
        busy = fleet.began("slow-1")
        _send(deployment, "a", "held-1", *behind)
        keeps = fleet.began("held-1")
        assert keeps.pid != busy.pid
        # Some may have been given back already.
        assert state.zcard(keys.action("act", "leased")) > 2, "they were claimed with it"
        (tmp_path / "go").touch()
        fleet.ended("held-1")
        notes = fleet.notes("began") + fleet.notes("ended", "held-1")
        assert {note.request_id for note in notes} == {"slow-1", "a", "held-1", *behind}, "before it ended"
        until(lambda: not deployment.left(), f"every outcome is committed\n{fleet.log()}")
    finally:
        fleet.close()
    assert len(fleet.notes("began")) == len(fleet.notes("ended")) == len(behind) + 3
    assert deployment.letters() == []
    assert "bystander.gave_back" in fleet.log(100_000)
    assert "action.fenced" not in fleet.log(100_000)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_beside_a_worker_ends_with_it(hanging: Fleet, state: Redis, end: signal.Signals) -> None:
    worker = hanging.worker()
    _send(_deployment(state), "a")
    hanging.ended("a")
    [beside] = psutil.Process(worker.pid).children()
    worker.send_signal(end)
    worker.wait()
    if end is signal.SIGTERM:
        assert not beside.is_running(), "its status was taken, too"
    until(lambda: not beside.is_running() or beside.status() == psutil.STATUS_ZOMBIE, "it ended")


def test_a_crash_loop_is_told_with_its_processes_and_its_call(hanging: Fleet, state: Redis) -> None:
    """In the log, in the timeline and in what ``status`` warns of; and no more workers are alive than there are."""
    lane = Kept(hanging, 1)
    hanging.start("sweeper")
    deployment = _deployment(state)
    try:
        _send(deployment, "crash-1")
        first, second = hanging.began("crash-1"), hanging.began("crash-1", times=2)
        until(lambda: state.llen(keys.LOST) >= 2, "both losses were noticed")
        found = survey(state)
        until(lambda: 0 < len(survey(state).workers) <= 2, "a killed one is not alive for long")
    finally:
        lane.close()
    assert set(lane.statuses) == {3}
    [said] = [each for each in Status(found, HEALTHY).attentions if each.kind is AttentionKind.LOST_CALLS]
    assert "calls of the action act without an outcome" in said.text
    assert f"-{second.pid}-" in said.text
    told = [line["detail"] for line in deployment.timeline("crash-1") if line.get("outcome") == "lost"]
    assert [pid for pid in (first.pid, second.pid) if any(f"-{pid}-" in detail for detail in told)] == [
        first.pid, second.pid,
    ]  # fmt: skip
    logged = [json.loads(line) for line in hanging.log(100_000).splitlines() if '"action.lost"' in line]
    assert {line["key"] for line in logged} == {"signature_request/crash-1"}


def test_a_killed_worker_is_not_alive_for_long_and_a_busy_one_is(patient: Fleet, state: Redis) -> None:
    killed, busy = patient.worker(), patient.worker()
    until(lambda: len(survey(state).workers) == 2, "both are alive")
    killed.kill()
    killed_at = time.monotonic()
    _send(_deployment(state), "slow-1")
    patient.began("slow-1")
    until(lambda: len(survey(state).workers) == 1, "one is alive")
    assert time.monotonic() - killed_at < NOT_ALIVE_AFTER_S
    until(lambda: survey(state).workers[0].state == "busy", "it says what it runs")
    [worker] = survey(state).workers
    assert (worker.action, f"-{busy.pid}-" in worker.name) == ("act", True)


@pytest.mark.parametrize("kind", ["pool", "bare", "kept"])
def test_a_worker_ends_within_its_grace_while_a_call_hangs(hanging: Fleet, state: Redis, kind: str) -> None:
    worker = hanging.worker()
    deployment = _deployment(state)
    _send(deployment, f"{kind}-1")
    hanging.began(f"{kind}-1")
    asked_at = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.wait(2 * GRACE_S)
    assert time.monotonic() - asked_at < GRACE_S


def test_a_call_that_is_shorter_than_the_grace_is_finished(hanging: Fleet, state: Redis) -> None:
    worker = hanging.worker()
    _send(_deployment(state), "long-1")
    hanging.began("long-1")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(GRACE_S) == 0
    assert len(hanging.notes("ended", "long-1")) == 1


def test_every_process_ends_within_its_grace_while_redis_does_not_answer(
    fragile: RedisServer, tmp_path: Path
) -> None:
    """Frozen, as a host that vanished: nothing refuses a connection, and no answer comes."""
    fleet = Fleet(fragile, tmp_path, module=MODULE)
    try:
        processes = [fleet.worker(), fleet.worker("sequencer"), fleet.start("bridge"), fleet.start("sweeper")]
        until(lambda: fleet.log(100_000).count(".started") >= len(processes), "all started")
        with fragile.client() as state:
            _send(_deployment(state), "pool-1")
        fleet.began("pool-1")
        fragile.freeze()
        time.sleep(1)
        asked_at = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(2 * GRACE_S)
        assert time.monotonic() - asked_at < GRACE_S
    finally:
        fragile.thaw()
        fleet.close()
