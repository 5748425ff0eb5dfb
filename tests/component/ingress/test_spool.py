"""The spool on a real disk: what is acknowledged from it is there, and what it cannot keep it says."""

from __future__ import annotations

import os
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.reader import Leftover
from deedbox.ingress.spool.usage import Gauge
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.core.reasons import Refusal
from tests.component.ingress.spooling import FRAME_BYTES, GIB, Obedient, numbered, spooled


def drained(folder: SpoolDir) -> list[int]:
    broker = Obedient()
    found = Drainer(folder, broker).drain()
    assert found.trouble is None
    return broker.taken


def test_what_was_spooled_comes_out_once_and_in_order(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(20))
    assert drained(folder) == list(range(20))
    assert drained(folder) == []


def test_a_drained_spool_leaves_no_file_behind(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(3))
    drained(folder)
    assert sorted(path.name for path in folder.path.iterdir()) == ["host-id", "quarantine"]


def test_only_the_owner_can_read_the_spool(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(3))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir() if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(9), segment_bytes=2 * FRAME_BYTES)
    assert len(folder.segments()) > 3
    assert drained(folder) == list(range(9))


def test_what_a_living_process_writes_is_nobody_elses(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    assert drained(folder) == []
    spool.seal()
    assert drained(folder) == [1]
    spool.append(numbered(2), 5)
    spool.close()
    assert drained(folder) == [2]


def test_a_segment_is_sealed_by_age(tmp_path: Path) -> None:
    now = [0.0]
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB, monotonic=lambda: now[0])
    spool.append(numbered(1), 5)
    now[0] = 10.0
    spool.seal(older_than_s=11)
    assert drained(folder) == []
    spool.seal(older_than_s=10)
    assert drained(folder) == [1]
    spool.close()


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: spool.append(numbered(number), 10), range(400)))
    spool.close()
    assert sorted(drained(folder)) == list(range(400))


def test_all_that_wait_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, entered, gate = [0], threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        calls[0] += 1
        entered.set()
        gate.wait(10)
        os.fsync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    spool = Spool(SpoolDir(tmp_path), GIB)
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(spool.append, numbered(0), 20)
        assert entered.wait(10)
        others = [pool.submit(spool.append, numbered(number), 20) for number in range(1, 11)]
        while len(spool._waiting) < 10:
            pass
        gate.set()
        for each in (first, *others):
            each.result()
    spool.close()
    assert calls[0] == 2
    assert sorted(drained(SpoolDir(tmp_path))) == list(range(11))


def test_a_disk_that_hangs_costs_a_request_its_patience_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: gate.wait(30))
    spool = Spool(SpoolDir(tmp_path), GIB)
    for number in range(3):
        with pytest.raises(NotSpooled) as error:
            spool.append(numbered(number), 0.05)
        assert error.value.reason is Refusal.SPOOL_UNWRITABLE
    gate.set()
    spool.append(numbered(9), 10)
    spool.close()
    assert drained(SpoolDir(tmp_path))[-1] == 9


def test_a_failed_fsync_is_never_acknowledged_and_the_file_never_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    with monkeypatch.context() as patch:

        def fail(_: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(NotSpooled):
            spool.append(numbered(2), 5)
    spool.append(numbered(3), 5)
    assert len(folder.segments()) == 2
    spool.close()
    assert set(drained(folder)) >= {1, 3}


def test_a_full_spool_refuses_and_takes_again_when_it_was_drained(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    now = [0.0]
    spool = Spool(folder, 5 * FRAME_BYTES, monotonic=lambda: now[0])
    for number in range(4):
        spool.append(numbered(number), 5)
    with pytest.raises(NotSpooled) as error:
        spool.append(numbered(4, size_bytes=2 * FRAME_BYTES), 5)
    assert error.value.reason is Refusal.SPOOL_FULL
    spool.seal()
    assert drained(folder) == [0, 1, 2, 3]
    now[0] += 1
    spool.append(numbered(8), 5)
    spool.close()
    assert drained(folder) == [8]


def test_the_cap_is_the_hosts_and_not_a_processs(tmp_path: Path) -> None:
    spooled(tmp_path, range(4))
    spool = Spool(SpoolDir(tmp_path), 4 * FRAME_BYTES)
    with pytest.raises(NotSpooled) as error:
        spool.append(numbered(5), 5)
    assert error.value.reason is Refusal.SPOOL_FULL
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.reason is Refusal.SPOOL_FULL
    spool.close()


def test_a_folder_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    spool = Spool(SpoolDir(tmp_path), GIB)
    with pytest.raises(NotSpooled) as error:
        spool.append(numbered(1), 5)
    assert error.value.reason is Refusal.SPOOL_UNWRITABLE
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.reason is Refusal.SPOOL_UNWRITABLE
    (tmp_path / "spool").unlink()
    spool.append(numbered(2), 5)
    assert spool.trouble() is None
    spool.close()


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


def test_a_forked_child_writes_a_segment_of_its_own(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            spool.append(numbered(2), 10)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert drained(folder) == [2]
    spool.append(numbered(3), 5)
    spool.close()
    assert drained(folder) == [1, 3]


def test_leftovers_of_an_interrupted_creation_are_tidied_away(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [1])
    draft, orphan = folder.path / ".000-x-1-y.segment", folder.path / "000-x-1-y.done"
    draft.touch()
    orphan.touch()
    claimed = Leftover.claim(folder.segments()[0])
    assert claimed is not None
    claimed.handed_on(claimed.done)
    folder.tidy()
    assert not draft.exists()
    assert not orphan.exists()
    assert claimed.path.with_suffix(".done").exists()
    claimed.release()
    assert drained(folder) == [1]


def test_the_host_keeps_its_name(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [1])
    assert SpoolDir(tmp_path).host_id() == folder.host_id()
    assert folder.segments()[0].name.split("-")[1] == folder.host_id()


def test_the_gauge_knows_what_is_left(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [5, 3, 4])
    gauge = Gauge(folder)
    found = gauge.usage()
    assert (found.frames, found.oldest_received_at, found.bytes) == (3, 1003.0, 3 * FRAME_BYTES)
    leftover = Leftover.claim(folder.segments()[0])
    assert leftover is not None
    leftover.handed_on([item.end for item in leftover.items()][1])
    leftover.release()
    found = gauge.usage()
    assert (found.frames, found.oldest_received_at, found.bytes) == (1, 1004.0, FRAME_BYTES)
    drained(folder)
    assert gauge.usage().oldest_received_at is None


def test_a_spool_that_refused_a_callback_for_want_of_room_says_that_it_is_full(tmp_path: Path) -> None:
    """To readiness too, in every process of the host, although some bytes are left."""
    spool = Spool(SpoolDir(tmp_path), 20 * FRAME_BYTES + FRAME_BYTES // 2)
    refused = None
    for number in range(100):
        try:
            spool.append(numbered(number), 5)
        except NotSpooled as error:
            refused = error
            break
    assert refused is not None
    assert refused.reason is Refusal.SPOOL_FULL
    other = Spool(SpoolDir(tmp_path), 20 * FRAME_BYTES + FRAME_BYTES // 2)
    trouble = other.trouble()
    assert trouble is not None
    assert trouble.reason is Refusal.SPOOL_FULL
    spool.close()
