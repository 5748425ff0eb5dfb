"""``python -m deedbox.ingress`` through an outage of its broker: every acknowledgement is kept, whoever is killed."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ops.checks import web as web_check
from deedbox.ops.checks.finding import Finding, Verdict
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import Settings
from tests.component.ingress.conftest import listens, stop, wait_until
from tests.component.ingress.spooling import MortalRedis, left, spooled
from tests.component.ingress.test_web_process import environment
from tests.unit.ingress.wire import MULTIPART, callback, multipart

pytestmark = pytest.mark.real_redis

ACK = b"Hello API Event Received"


@pytest.fixture
def broker(mortal: MortalRedis) -> MortalRedis:
    return mortal


class Web:
    """A web process of two workers, and who was acknowledged by it."""

    def __init__(self, folder: Path, broker: MortalRedis, **more: str) -> None:
        self.data_dir = folder / "var"
        self.port = free_port()
        self.log = folder / "log"
        self.environment = environment(
            DEEDBOX_REDIS_URL=broker.url,
            DEEDBOX_DATA_DIR=str(self.data_dir),
            DEEDBOX_WEB_WORKERS="2",
            DEEDBOX_LOG_FORMAT="json",
            PORT=str(self.port),
            **more,
        )
        self.acknowledged: set[int] = set()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deedbox.ingress"], env=self.environment, stderr=stream
            )
        wait_until(lambda: listens(self.port))

    def kill(self) -> None:
        """Kill the server and all its workers, none of which gets to say goodbye."""
        assert self.process is not None
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                os.kill(member.pid, signal.SIGKILL)
        psutil.wait_procs(family, 10)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def post(self, number: int, pad: int = 0) -> tuple[int, bytes, http.client.HTTPMessage | None]:
        """Post a callback; (0, b"", None) if there was no answer. ``pad``: bytes that do not compress."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            link.request(
                "POST",
                "/callbacks",
                multipart(callback(n=number, pad=os.urandom(pad // 2).hex())),
                {"Content-Type": MULTIPART},
            )
            answer = link.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b"", None
        finally:
            link.close()
        if (answer.status, body) == (200, ACK):
            self.acknowledged.add(number)
        return answer.status, body, answer.headers

    def ready(self) -> tuple[int, dict[str, str]]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        link.request("GET", "/readyz")
        answer = link.getresponse()
        found: dict[str, str] = json.loads(answer.read())
        link.close()
        return answer.status, found

    def outcomes(self) -> list[str]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["outcome"] for line in lines if line["event"] == "event.received"]


@contextmanager
def serving(folder: Path, broker: MortalRedis, **more: str) -> Iterator[Web]:
    web = Web(folder, broker, **more)
    web.start()
    try:
        yield web
    finally:
        web.stop()


def drain(web: Web) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deedbox.ingress", "drain", "--json"],
        env=web.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_whoever_is_killed_every_acknowledged_callback_arrives(tmp_path: Path, broker: MortalRedis) -> None:
    with serving(tmp_path, broker) as web:
        numbers, posting = itertools.count(), threading.Event()

        def post_on() -> None:
            while not posting.is_set():
                if web.post(next(numbers))[0] == 0:
                    time.sleep(
                        0.02
                    )  # nobody listens for a moment: as a sender would, not as fast as refusals come

        def acknowledged(count: int) -> None:
            goal = len(web.acknowledged) + count
            wait_until(lambda: len(web.acknowledged) >= goal)

        with ThreadPoolExecutor(3) as senders:
            for _ in range(3):
                senders.submit(post_on)
            acknowledged(40)
            broker.kill()
            acknowledged(60)
            web.kill()
            web.start()
            acknowledged(40)
            broker.start()
            acknowledged(40)
            broker.kill()
            acknowledged(40)
            posting.set()
        web.kill()
        broker.start()
        web.start()
        wait_until(lambda: left(SpoolDir(web.data_dir)) == 0)
        arrived = broker.numbers()
    assert len(web.acknowledged) >= 220
    assert web.acknowledged - set(arrived) == set()


def checked(port: int) -> Finding:
    """Return what ``deedbox check`` says of the web process of this host."""
    [found] = web_check.check(Settings.load({"DEEDBOX_API_KEYS": "k", "PORT": str(port)}))
    return found


def test_during_an_outage_callbacks_are_spooled_and_readiness_says_why(
    tmp_path: Path, broker: MortalRedis
) -> None:
    with serving(tmp_path, broker) as web:
        assert web.post(1)[0] == 200
        assert web.ready() == (200, {"status": "ready"})
        assert checked(web.port).verdict is Verdict.OK
        broker.kill()
        assert {web.post(number)[0] for number in range(2, 12)} == {200}
        answers: list[tuple[int, dict[str, str]]] = []

        def warned() -> bool:  # each of the two processes looks at the broker once a second at most
            answers.append(web.ready())
            return "warning" in answers[-1][1]

        wait_until(warned)
        status, said = answers[-1]
        assert (status, said["status"]) == (200, "ready")
        assert "spool" in said["warning"]
        wait_until(lambda: checked(web.port).verdict is Verdict.WARNING)  # whichever process answers
        assert checked(free_port()).verdict is Verdict.OK
        # One more if the broker's answer to the first took long: it was spooled too, and dedupe absorbs that.
        assert left(SpoolDir(web.data_dir)) in {10, 11}
        broker.start()
        wait_until(lambda: left(SpoolDir(web.data_dir)) == 0)
        assert set(broker.numbers()) >= set(range(1, 12))
        assert web.outcomes().count("spooled") in {10, 11}


def test_a_full_spool_means_503_and_heals(tmp_path: Path, broker: MortalRedis) -> None:
    with serving(tmp_path, broker, DEEDBOX_SPOOL_MAX_BYTES="65536") as web:
        broker.kill()
        number = 0
        while (found := web.post(number))[0] == 200:
            number += 1
            assert number < 1000
        status, body, headers = found
        assert (status, json.loads(body)["error"]) == (503, "spool_full")
        assert headers is not None
        assert int(headers["Retry-After"]) > 0
        refused, said = web.ready()
        assert (refused, said["error"]) == (503, "spool_full")
        told = checked(web.port)
        assert (told.verdict, told.fix) == (Verdict.FAILED, "`deedbox runbook spool_full` says what to do")
        assert "the spool is full" in told.detail
        broker.start()
        wait_until(lambda: web.post(9999)[0] == 200)
        wait_until(lambda: web.acknowledged <= set(broker.numbers()))


def test_an_unusable_spool_means_503_until_the_broker_is_back(tmp_path: Path, broker: MortalRedis) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "spool").write_text("not a folder")
    with serving(tmp_path, broker) as web:
        assert "warning" in web.ready()[1]
        broker.kill()
        answers = [web.post(number) for number in range(8)]
        assert {(status, json.loads(body)["error"]) for status, body, _ in answers} == {
            (503, "spool_unwritable")
        }
        broker.start()
        wait_until(lambda: web.post(99)[0] == 200)
        assert 99 in broker.numbers()


def test_without_a_spool_an_outage_means_503_at_once(tmp_path: Path, broker: MortalRedis) -> None:
    with serving(tmp_path, broker, DEEDBOX_SPOOL="off") as web:
        broker.kill()
        status, body, _ = web.post(1)
        assert (status, json.loads(body)["error"]) == (503, "broker_unavailable")
        assert web.ready()[0] == 503
        broker.start()
        wait_until(lambda: web.post(2)[0] == 200)
        assert broker.numbers() == [2]


def test_a_redis_that_freezes_is_left_behind(tmp_path: Path, broker: MortalRedis) -> None:
    with serving(tmp_path, broker) as web:
        assert broker.process is not None
        os.kill(broker.process.pid, signal.SIGSTOP)
        try:
            assert {web.post(number)[0] for number in range(20)} == {200}
        finally:
            os.kill(broker.process.pid, signal.SIGCONT)
        wait_until(lambda: set(range(20)) <= set(broker.numbers()))


def test_a_redis_that_is_full_is_left_alone_until_there_is_room(tmp_path: Path, broker: MortalRedis) -> None:
    with serving(tmp_path, broker) as web, broker.client() as client:
        client.config_set("maxmemory", "1")
        assert {web.post(number)[0] for number in range(12)} == {200}
        client.config_set("maxmemory", "0")
        wait_until(lambda: set(range(12)) <= set(broker.numbers()))
        assert client.zcard(keys.DEAD) == 0


def test_a_graceful_stop_leaves_nothing_in_the_spool(tmp_path: Path, broker: MortalRedis) -> None:
    with serving(tmp_path, broker) as web:
        broker.kill()
        for number in range(5):
            assert web.post(number)[0] == 200
        broker.start()
        wait_until(lambda: left(SpoolDir(web.data_dir)) == 0)
        web.stop()
        assert set(range(5)) <= set(broker.numbers())
        with broker.client() as client:
            assert client.hgetall(keys.SPOOLS) == {}


def test_the_command_drains_without_a_web_process(tmp_path: Path, broker: MortalRedis) -> None:
    web = Web(tmp_path, broker)
    spooled(web.data_dir, range(30))
    broker.kill()
    failed = drain(web)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["left"]["callbacks"] == 30
    broker.start()
    done = drain(web)
    assert done.returncode == 0
    assert json.loads(done.stdout)["drained"]["published"] == 30
    assert broker.numbers() == list(range(30))
    again = drain(web)
    assert (again.returncode, json.loads(again.stdout)["drained"]["published"]) == (0, 0)
