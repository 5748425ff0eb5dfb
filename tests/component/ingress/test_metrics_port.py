"""Ingress's own metrics as a scraper sees them, while worker processes come and go."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import Server, listens, stop, wait_until
from tests.component.ingress.test_web_process import environment
from tests.support.metrics_table import exported, table
from tests.unit.ingress.wire import MULTIPART, callback, multipart

pytestmark = pytest.mark.real_redis


@dataclass(frozen=True)
class Web:
    """A running ``python -m deedbox.ingress`` with a metrics port."""

    port: int
    metrics_port: int
    process: subprocess.Popen[bytes]
    log: Path

    def send(
        self,
        count: int = 1,
        key: str | None = None,
        path: str = "/callbacks",
        agent: str = "Dropbox Sign API",
    ) -> list[int]:
        text = callback() if key is None else callback(key=key)
        return [
            urllib3.request(
                "POST", f"http://127.0.0.1:{self.port}{path}", body=multipart(text), retries=False, timeout=10,
                headers={"Content-Type": MULTIPART, "Connection": "close", "User-Agent": agent},
            ).status
            for _ in range(count)
        ]  # fmt: skip

    def text(self) -> str:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        return urllib3.request("GET", url, retries=3, timeout=10).data.decode()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def settle(self, name: str, value: float, **labels: str) -> None:
        wait_until(lambda: self.value(name, **labels) == value)


@contextmanager
def serving(redis_url: str, folder: Path, metrics_port: int | None = None) -> Iterator[Web]:
    metrics_port = metrics_port or free_port()
    port, log = free_port(), folder / "log"
    env = environment(
        DEEDBOX_REDIS_URL=redis_url, PORT=str(port), DEEDBOX_METRICS_PORT=str(metrics_port),
        DEEDBOX_DATA_DIR=str(folder / "var"), DEEDBOX_WEB_WORKERS="2",
    )  # fmt: skip
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "deedbox.ingress"], env=env, stderr=stream)
    try:
        wait_until(lambda: listens(port))
        yield Web(port, metrics_port, process, log)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def calm(redis_broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Lend one that nobody kills."""
    with serving(redis_broker.url, tmp_path_factory.mktemp("calm")) as found:
        yield found


@pytest.fixture
def web(redis_broker: Server, tmp_path: Path) -> Iterator[Web]:
    with serving(redis_broker.url, tmp_path) as found:
        yield found


def _replaced(web: Web, before: set[int]) -> bool:
    now = {worker.pid for worker in web.workers()}
    return len(now) == len(before) and now != before


REQUESTS = "deedbox_ingress_requests_total"
"""Whether one was accepted or, on a slow machine, spooled, is not what most of these laws are about."""


def test_the_counts_of_all_workers_stay_when_workers_come_and_go(web: Web, tmp_path: Path) -> None:
    assert set(web.send(20)) == {200}
    web.settle(REQUESTS, 20)
    for number in range(1, 4):
        before = {worker.pid for worker in web.workers()}
        if number % 2:
            web.workers()[0].kill()
        else:
            web.workers()[0].terminate()
        wait_until(partial(_replaced, web, before))
        assert set(web.send(10)) == {200}
        web.settle(REQUESTS, 20 + 10 * number)
    web.settle("deedbox_ingress_ack_duration_seconds_count", 50)
    web.settle("deedbox_ingress_breaker_processes", 2)
    folder = tmp_path / "var" / "metrics" / str(web.metrics_port)
    alive = {str(worker.pid) for worker in web.workers()}
    wait_until(lambda: {path.stem.rpartition("_")[2] for path in folder.glob("*.db")} <= alive | {"folded"})


def test_counts_of_the_last_moment_of_a_worker_that_ends_are_not_lost(web: Web) -> None:
    web.send(5)
    for worker in web.workers():
        worker.terminate()
    web.settle(REQUESTS, 5)


def test_a_file_that_a_starting_worker_has_not_filled_yet_is_waited_for(web: Web) -> None:
    """What a scrape finds between the making of a counter file and its first bytes."""
    web.send(3)
    web.settle(REQUESTS, 3)
    (counters, *_) = (web.log.parent / "var").rglob("counter_*.db")
    unfilled = counters.with_name("counter_99999999.db")
    unfilled.touch()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(web.text()))
    asking.start()
    time.sleep(0.03)
    unfilled.unlink()
    asking.join()
    assert "deedbox_ingress_requests_total" in answers[0]


def test_refusals_are_told_apart_and_no_label_is_the_senders_text(calm: Web) -> None:
    assert calm.send(2, key="stolen") == [401, 401]
    assert calm.send(3, path="/callbacks/jack-at-example") == [404, 404, 404]
    assert calm.send(4, key="stolen", agent="curl/8") == [401] * 4
    calm.settle(REQUESTS, 2, source="default", outcome="refused", reason="bad_event_hash")
    calm.settle(REQUESTS, 4, source="", outcome="refused", reason="bad_event_hash")
    calm.settle(REQUESTS, 3, source="", outcome="refused", reason="unknown_source")
    assert "jack" not in calm.text()


def test_an_outage_of_the_broker_shows_in_spool_breaker_and_errors(web: Web, redis_broker: Server) -> None:
    assert web.send() == [200]
    with redis_broker.frozen():
        assert set(web.send(4)) == {200}
        wait_until(lambda: web.value("deedbox_ingress_spool_callbacks") >= 3)
        wait_until(lambda: web.value("deedbox_ingress_publish_errors_total") >= 1)
        assert web.value("deedbox_ingress_spool_bytes") > 0
        wait_until(lambda: web.value("deedbox_ingress_spool_oldest_age_seconds") > 0)
        wait_until(lambda: web.value(REQUESTS, outcome="spooled") >= 3)
    web.settle("deedbox_ingress_spool_callbacks", 0)
    web.settle("deedbox_ingress_breaker_processes", 2, state="closed")


def test_each_metric_stands_in_the_table_and_each_row_is_exported(calm: Web) -> None:
    wait_until(lambda: calm.value("deedbox_ingress_breaker_processes") > 0)
    assert exported(calm.text()) == table("ingress")


def test_a_new_master_counts_from_zero(redis_broker: Server, tmp_path: Path) -> None:
    with serving(redis_broker.url, tmp_path) as web:
        web.send(3)
        web.settle(REQUESTS, 3)
    with serving(redis_broker.url, tmp_path, web.metrics_port) as again:
        assert again.value(REQUESTS) == 0


def test_the_metrics_are_not_on_the_public_port(calm: Web) -> None:
    url = f"http://127.0.0.1:{calm.port}/metrics"
    assert urllib3.request("GET", url, retries=False, timeout=20).status == 404
    other = f"http://127.0.0.1:{calm.metrics_port}/callbacks"
    assert urllib3.request("GET", other, retries=False, timeout=20).status == 404


def test_a_taken_metrics_port_is_one_sentence(calm: Web, redis_broker: Server, tmp_path: Path) -> None:
    env = environment(
        DEEDBOX_REDIS_URL=redis_broker.url, PORT=str(free_port()), DEEDBOX_DATA_DIR=str(tmp_path),
        DEEDBOX_METRICS_PORT=str(calm.metrics_port),
    )  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-m", "deedbox.ingress"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert found.returncode == 1
    assert found.stderr.startswith(f"deedbox: DEEDBOX_METRICS_PORT {calm.metrics_port} is taken")


def test_a_graceful_stop_is_not_held_up(web: Web) -> None:
    web.send()
    web.text()
    started = time.monotonic()
    web.process.terminate()
    assert web.process.wait(20) == 0
    assert time.monotonic() - started < 15
    assert "Traceback" not in web.log.read_text()
