"""A process that was stopped in the middle of a commit holds the spool's locks: the others wait for a second, not for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deedbox.ingress.spool.database import Database
from deedbox.ingress.spool.drain import Drainer, SpoolDrained
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.core.reasons import Refusal
from tests.component.ingress.spooling import GIB, Obedient, left, numbered, spooled
from tests.support.waiting import until

COUNT = 9


def _stop_in_a_commit(data_dir: Path) -> None:
    with Database(SpoolDir(data_dir)).writing(adds_bytes=1):
        os.kill(os.getpid(), signal.SIGSTOP)


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[psutil.Process]:
    """Return a process that stopped in a commit to a spool that holds callbacks."""
    spooled(tmp_path, range(COUNT))
    process = multiprocessing.get_context("spawn").Process(target=_stop_in_a_commit, args=(tmp_path,))
    process.start()
    found = psutil.Process(process.pid)
    try:
        until(lambda: found.status() == psutil.STATUS_STOPPED, "the process has stopped")
        yield found
    finally:
        process.kill()
        process.join()


@pytest.mark.usefixtures("stopped")
def test_a_request_is_refused_within_two_seconds(tmp_path: Path) -> None:
    spool = Spool(SpoolDir(tmp_path), GIB)
    for number in range(COUNT, COUNT + 2):  # the second one finds a writer that waits
        started = time.monotonic()
        with pytest.raises(NotSpooled) as refused:
            spool.append(numbered(number), 1.7)
        assert time.monotonic() - started < 2
        assert refused.value.reason is Refusal.SPOOL_UNWRITABLE
    spool.close()


def test_the_drain_publishes_and_comes_back_and_ends_when_the_process_goes_on(
    tmp_path: Path, stopped: psutil.Process
) -> None:
    """The thread that drains also closes the circuit breaker: waiting for ever, it would keep callbacks from a broker that is well."""
    folder, broker = SpoolDir(tmp_path), Obedient()
    drainer, found = Drainer(folder, broker), list[SpoolDrained]()
    draining = threading.Thread(target=lambda: found.append(drainer.drain()), daemon=True)
    draining.start()
    draining.join(20)
    assert not draining.is_alive()
    assert (found[0].published, found[0].trouble) == (COUNT, None)
    assert found[0].unreadable
    stopped.resume()
    until(lambda: drainer.drain().unreadable is None, "the drain takes the callbacks off the disk")
    assert broker.taken == list(range(COUNT))
    assert left(folder) == 0
    drainer.close()
