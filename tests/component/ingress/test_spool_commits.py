"""A commit of the spool: what it holds, and what it costs when the disk hangs or refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deedbox.ingress.spool import writer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.core.reasons import Refusal
from tests.component.ingress.spooling import GIB, drained, numbered


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: spool.append(numbered(number), 10), range(400)))
    spool.close()
    assert sorted(drained(folder)) == list(range(400))


def test_all_that_wait_share_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    entered, gate = threading.Event(), threading.Event()
    commit = Spool._append

    def slow(self: Spool, batch: list[writer._Waiting]) -> None:
        sizes.append(len(batch))
        entered.set()
        gate.wait(10)
        commit(self, batch)

    monkeypatch.setattr(Spool, "_append", slow)
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
    assert sizes == [1, 10]
    assert sorted(drained(SpoolDir(tmp_path))) == list(range(11))


def test_a_disk_that_hangs_costs_a_request_its_patience_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    commit = Spool._append

    def hang(self: Spool, batch: list[writer._Waiting]) -> None:
        gate.wait(30)
        commit(self, batch)

    monkeypatch.setattr(Spool, "_append", hang)
    spool = Spool(SpoolDir(tmp_path), GIB)
    for number in range(3):
        with pytest.raises(NotSpooled) as error:
            spool.append(numbered(number), 0.05)
        assert error.value.reason is Refusal.SPOOL_UNWRITABLE
    gate.set()
    spool.append(numbered(9), 10)
    spool.close()
    assert drained(SpoolDir(tmp_path))[-1] == 9


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="strace shows the system calls; install it")
def test_every_commit_is_followed_by_an_fsync_of_its_own(tmp_path: Path) -> None:
    """What is said of WAL and ``synchronous=FULL``, seen from outside."""
    script = (
        "import os, sys; from pathlib import Path\n"
        "from deedbox.ingress.spool.folder import SpoolDir\n"
        "from deedbox.ingress.spool.writer import Spool\n"
        "from tests.component.ingress.spooling import GIB, numbered\n"
        "spool = Spool(SpoolDir(Path(sys.argv[1])), GIB)\n"
        "for number in range(20):\n"
        "    spool.append(numbered(number), 5); os.write(1, b'acknowledged\\n')\n"
    )
    trace = tmp_path / "trace"
    strace = ["/usr/bin/strace", "-f", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync,write"]
    done = subprocess.run(
        [*strace, sys.executable, "-c", script, str(tmp_path / "var")], capture_output=True, check=False
    )
    if b"ptrace" in done.stderr and done.returncode:
        pytest.skip("this machine does not allow strace")
    calls = trace.read_text()
    *acknowledged, _ = calls.split('"acknowledged')
    assert len(acknowledged) == 20
    assert all("sqlite3-wal>" in before for before in acknowledged)


def test_a_commit_that_failed_is_not_acknowledged_and_never_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    with monkeypatch.context() as patch:

        def fail(_: SpoolDir, __: int = 0) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(SpoolDir, "hold", fail)
        with pytest.raises(NotSpooled) as error:
            spool.append(numbered(2), 5)
        assert error.value.reason is Refusal.SPOOL_UNWRITABLE
    spool.append(numbered(3), 5)
    spool.close()
    assert drained(folder) == [1, 3]
