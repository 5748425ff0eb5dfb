"""Failover under load: what was acknowledged is applied, and the processes live through it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deedbox.ingress.publish.handover import Handover, NotStored
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge
from deedbox.shared.broker.brokers import broker_address, open_broker
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.settings import Settings
from tests.component.sentinel.cluster import Cluster
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import envelope, sent
from tests.component.workers.server import until

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]

PAUSE_S = 0.02


class Traffic:
    """Callbacks, one request each, through ingress's handover; remembers which ones were acknowledged."""

    def __init__(self, settings: Settings) -> None:
        publisher = open_broker(broker_address(settings), 16, settings.redis_wait_replicas)
        self._publisher, self._handover = publisher, Handover(settings, publisher)
        self._folder = SpoolDir(settings.data_dir)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(name,)) for name in "ab"]
        self.acknowledged: set[str] = set()

    def start(self) -> None:
        """Send until told to stop."""
        for thread in self._threads:
            thread.start()

    def _send(self, name: str) -> None:
        number = 0
        while not self._stop.wait(PAUSE_S):
            number += 1
            request_id = f"{name}{number}"
            with suppress(NotStored):
                self._handover.store(envelope(sent(0, request_id)))
                self.acknowledged.add(request_id)

    def more(self, count: int) -> None:
        """Wait for so many further acknowledgements."""
        goal = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= goal, f"{count} more callbacks are acknowledged")

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def close(self) -> None:
        """Wait for the spool to be empty, and let go."""
        self.stop()
        until(lambda: Gauge(self._folder).usage().callbacks == 0, "the spool is empty")
        self._handover.close()
        self._publisher.close()


@pytest.fixture
def traffic(settings: Settings) -> Iterator[Traffic]:
    found = Traffic(settings)
    yield found
    found.stop()


@pytest.fixture
def fleet(cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(cluster, tmp_path, DEEDBOX_REDIS_WAIT_REPLICAS="1")
    yield found
    found.close()


def everybody(fleet: Fleet) -> list[subprocess.Popen[bytes]]:
    return [fleet.start("bridge"), fleet.start("sweeper"), fleet.worker("sequencer"), fleet.worker("default")]


def applied(fleet: Fleet) -> set[str]:
    return {note.request_id for note in fleet.notes("ended")}


def assert_repeats_have_the_same_key(fleet: Fleet) -> None:
    """One fact has one idempotency key, however often it was dispatched."""
    notes = fleet.notes("began")
    assert len({note.idempotency_key for note in notes}) == len({note.request_id for note in notes})


def test_nothing_acknowledged_is_lost_when_the_master_is_killed_and_nobody_is_restarted(
    cluster: Cluster, fleet: Fleet, traffic: Traffic
) -> None:
    processes = everybody(fleet)
    traffic.start()
    until(lambda: len(applied(fleet)) > 20, "callbacks are applied")
    # One call is in flight while the master dies: its commit meets a master that may not know of its lease.
    fleet.hold("b60")
    fleet.began("b60")

    killed = cluster.fail_over()
    fleet.let_go("b60")
    traffic.more(20)  # from the spool: the new master has no replica
    cluster.bring_back(killed)
    cluster.until_replicated(1)
    traffic.more(20)
    traffic.close()

    until(lambda: applied(fleet) >= traffic.acknowledged, f"everything is applied\n{fleet.log()}")
    assert_repeats_have_the_same_key(fleet)
    assert [process.poll() for process in processes] == [None] * 4


def test_idle_processes_follow_a_master_that_is_demoted_under_them(
    cluster: Cluster, fleet: Fleet, settings: Settings
) -> None:
    processes = everybody(fleet)
    publisher = open_broker(broker_address(settings), 2, wait_replicas=1)
    publisher.publish(envelope(sent(0, "before")))
    fleet.ended("before")
    time.sleep(0.5)  # now bridge and workers block on the old master

    cluster.hand_over()
    cluster.until_replicated(1)

    def is_published() -> bool:
        # Not the first time: its connection was to the old master. Nor while the other one is slow to follow the new one.
        with suppress(Unavailable):
            publisher.publish(envelope(sent(0, "after")))
            return True
        return False

    until(is_published, "a publish is confirmed")
    fleet.ended("after")
    assert [process.poll() for process in processes] == [None] * 4
    publisher.close()
