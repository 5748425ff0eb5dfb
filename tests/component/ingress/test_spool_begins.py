"""A spool that several processes of a host begin at the same moment: as after the first outage of a new host's broker."""

from __future__ import annotations

import multiprocessing
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import pytest

from deedbox.ingress.spool import folder
from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import Spool
from tests.component.ingress.spooling import GIB, Obedient, numbered

PROCESSES = 4
ROUNDS = 15
PATIENCE_S = 5.0


def _append(data_dir: Path, number: int) -> None:
    spool = Spool(SpoolDir(data_dir), GIB)
    spool.append(numbered(number), PATIENCE_S)
    spool.close()


def _drained(data_dir: Path) -> list[int]:
    broker = Obedient()
    drainer = Drainer(SpoolDir(data_dir), broker)
    found = drainer.drain()
    drainer.close()
    assert (found.trouble, found.unreadable) == (None, None)
    return sorted(broker.taken)


def test_what_another_process_acknowledged_while_this_one_began_the_spool_is_drained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has found no database, and is about to create one; the other one creates it, and writes."""
    other = threading.Thread(target=_append, args=(tmp_path, 1))

    def time_ns() -> int:
        if other.ident is None:
            other.start()
            other.join(0.5)
        return time.time_ns()

    clock = SimpleNamespace(time=time.time, time_ns=time_ns)
    monkeypatch.setattr("deedbox.ingress.spool.folder.time", clock)
    _append(tmp_path, 2)
    other.join()
    assert _drained(tmp_path) == [1, 2]


def test_a_file_that_another_process_removes_meanwhile_costs_no_callback(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    folder.prepare()
    (folder.path / ".draft").symlink_to("removed")  # its name is there, and looking at it fails
    _append(tmp_path, 1)
    assert _drained(tmp_path) == [1]


def _at_once(barrier: Barrier, data_dir: Path, number: int) -> None:
    for each in range(ROUNDS):
        barrier.wait()
        _append(data_dir / str(each), number)


def test_of_processes_that_begin_a_spool_at_once_each_callback_is_taken_and_drained(tmp_path: Path) -> None:
    for each in range(ROUNDS):
        (tmp_path / str(each)).mkdir()
    spawning = multiprocessing.get_context("spawn")
    barrier = spawning.Barrier(PROCESSES, timeout=60)
    processes = [
        spawning.Process(target=_at_once, args=(barrier, tmp_path, number)) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    found = [_drained(tmp_path / str(each)) for each in range(ROUNDS)]
    assert found == [list(range(PROCESSES))] * ROUNDS


def test_who_finds_the_folder_there_makes_its_name_durable_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have made it a moment ago, and not have synced it yet."""
    data_dir = tmp_path / "host" / "var"
    SpoolDir(data_dir).prepare()
    synced: list[Path] = []
    monkeypatch.setattr(folder, "flush_names", synced.append)
    SpoolDir(data_dir).prepare()
    assert {data_dir / "spool", data_dir, data_dir.parent} <= set(synced)
