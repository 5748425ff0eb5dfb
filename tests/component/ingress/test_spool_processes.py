"""Several processes and one spool: writers that are killed, forked, or slow."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deedbox.ingress.spool.database import Database
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge
from deedbox.ingress.spool.writer import Spool
from tests.component.ingress.spooling import GIB, drained, numbered, spooled


def test_a_killed_writer_has_everything_that_it_acknowledged_on_the_disk(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            spool = Spool(SpoolDir(tmp_path), GIB)
            for number in range(100_000):
                spool.append(numbered(number), 10)
                os.write(writing, b"%d\n" % number)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as acknowledged:
        for _ in range(50):
            acknowledged.readline()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rest = [line for line in acknowledged.read().splitlines() if line]
    taken = drained(SpoolDir(tmp_path))
    assert taken[: 50 + len(rest)] == list(range(50 + len(rest)))


def test_parent_and_forked_child_write_one_spool(tmp_path: Path) -> None:
    """Neither loses what the other wrote, in any order of their ends."""
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in range(100, 150):
                spool.append(numbered(number), 10)
            code = 0
        finally:
            os._exit(code)
    for number in range(200, 250):
        spool.append(numbered(number), 5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    spool.append(numbered(3), 5)
    spool.close()
    assert sorted(drained(folder)) == [1, 3, *range(100, 150), *range(200, 250)]


def test_no_connection_crosses_a_fork(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [1])
    spool, gauge = Spool(folder, GIB), Gauge(folder)
    spool.append(numbered(2), 5)
    gauge.usage()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        links = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        os.write(writing, b"%d" % sum(str(tmp_path) in link and ".sqlite3" in link for link in links))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 9) == b"0"
    assert gauge.usage().callbacks == 2
    os.close(reading)
    os.close(writing)
    spool.close()


def test_a_child_that_was_forked_while_the_disk_hung_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deedbox.ingress.spool.database.FORK_PATIENCE_S", 0.05)
    database = Database(spooled(tmp_path, [1]))
    held, gate = threading.Event(), threading.Event()

    def hang() -> None:
        with database.writing(1):
            held.set()
            gate.wait(20)

    thread = threading.Thread(target=hang)
    thread.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        try:
            with database.reading():
                os._exit(0)
        except OSError:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    gate.set()
    thread.join()
    database.close()


def test_a_process_that_writes_for_long_makes_another_one_wait_and_not_fail(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [1])
    blocker = sqlite3.connect(folder.database(), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: None)
    spool = Spool(folder, GIB)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(spool.append, numbered(2), 5)
        release.start()
        release.join()
        blocker.execute("COMMIT")
        waiting.result()
    blocker.close()
    spool.close()
    assert drained(folder) == [1, 2]
