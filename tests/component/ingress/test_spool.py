"""The spool on a real disk: what is acknowledged from it is there, and what it cannot keep it says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.core.reasons import Refusal
from tests.component.ingress.spooling import ENTRY_BYTES, GIB, Obedient, drained, left, numbered, spooled

CAP = 256 * 1024


def fill(spool: Spool, size_bytes: int = 3000) -> tuple[list[int], NotSpooled]:
    """Spool until the spool refuses; return what it took, and why it took no more."""
    taken: list[int] = []
    while True:
        try:
            spool.append(numbered(len(taken), size_bytes), 5)
        except NotSpooled as error:
            return taken, error
        taken.append(len(taken))


def test_what_was_spooled_comes_out_once_and_in_order(tmp_path: Path) -> None:
    folder = spooled(tmp_path, range(20))
    assert drained(folder) == list(range(20))
    assert drained(folder) == []


def test_a_drained_spool_gives_its_room_back_to_the_disk(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [1])
    drained(folder)
    database = folder.database()
    empty = database.stat().st_size
    spool = Spool(folder, GIB)
    for number in range(300):
        spool.append(numbered(number, size_bytes=9000), 5)
    spool.close()
    assert database.stat().st_size > empty + 300 * 9000
    drained(folder)
    assert database.stat().st_size == empty
    assert not Path(f"{database}-wal").exists()


def test_on_a_disk_that_is_short_of_room_half_a_drain_gives_back_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis on the same disk may need that room to take the other half."""
    monkeypatch.setattr(SpoolDir, "disk_is_short", lambda _: True)
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    for number in range(80):
        spool.append(numbered(number, size_bytes=300_000), 5)
    spool.close()
    full = folder.database().stat().st_size
    Drainer(folder, Obedient(dies_after=50), batch=5).drain()
    assert folder.database().stat().st_size < 0.6 * full


def test_only_the_owner_can_read_the_spool(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    names = {path.name.partition(".sqlite3")[2]: path for path in folder.path.iterdir()}
    assert {"-wal", "-shm"} <= set(names)  # SQLite's own, while the database is open
    assert {stat.S_IMODE(path.stat().st_mode) for path in names.values()} == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drain another user's spool")
def test_a_spool_that_root_drains_stays_its_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    for number in range(50):
        spool.append(numbered(number), 5)
    Drainer(folder, Obedient(dies_after=20), batch=10).drain()
    folder.set_aside(folder.database())
    spool.append(numbered(50), 5)
    assert {path.stat().st_uid for path in (folder.path, *folder.path.iterdir())} == {1234}
    spool.close()


def test_what_a_living_process_spooled_is_drained_by_any(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    assert drained(folder) == [1]
    spool.append(numbered(2), 5)
    assert drained(folder) == [2]
    spool.close()


def test_a_full_spool_refuses_and_takes_again_when_it_was_drained(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, CAP)
    taken, error = fill(spool)
    assert error.reason is Refusal.SPOOL_FULL
    assert 40 < len(taken) < CAP // 3000
    assert drained(folder) == taken
    spool.append(numbered(8), 5)
    spool.close()
    assert drained(folder) == [8]


def test_the_cap_is_of_the_host_and_not_of_a_process(tmp_path: Path) -> None:
    spool = Spool(SpoolDir(tmp_path), CAP)
    fill(spool)
    other = Spool(SpoolDir(tmp_path), CAP)
    with pytest.raises(NotSpooled) as error:
        other.append(numbered(5, size_bytes=3000), 5)
    assert error.value.reason is Refusal.SPOOL_FULL
    spool.close()
    other.close()


@pytest.mark.parametrize("size_bytes", [0, 900, 3000, 40_000, 2_000_000])
def test_as_long_as_callbacks_are_refused_the_spool_says_so_and_then_no_longer(
    tmp_path: Path, size_bytes: int
) -> None:
    """Of any size: what readiness says is what the last callback met."""
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, 3 * CAP)
    _, error = fill(spool, size_bytes)
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.reason is error.reason is Refusal.SPOOL_FULL
    drained(folder)
    if size_bytes < 3 * CAP:
        assert spool.trouble() is None
        spool.append(numbered(1, size_bytes), 5)
    spool.close()


def test_a_look_at_the_spool_leaves_nothing_in_it(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [1])
    spool = Spool(folder, GIB)
    assert spool.trouble() is None
    spool.close()
    assert left(folder) == 1
    assert drained(folder) == [1]


def test_a_folder_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    spool = Spool(SpoolDir(tmp_path), GIB)
    with pytest.raises(NotSpooled) as error:
        spool.append(numbered(1), 5)
    assert error.value.reason is Refusal.SPOOL_UNWRITABLE
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.reason is Refusal.SPOOL_UNWRITABLE
    assert str(tmp_path) in str(trouble)
    (tmp_path / "spool").unlink()
    spool.append(numbered(2), 5)
    assert spool.trouble() is None
    spool.close()


def test_a_spool_that_was_removed_under_a_running_process_is_made_anew(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    spool = Spool(folder, GIB)
    spool.append(numbered(1), 5)
    folder.path.rename(tmp_path / "removed")
    spool.append(numbered(2), 5)
    spool.close()
    assert drained(folder) == [2]


def test_the_host_keeps_its_name(tmp_path: Path) -> None:
    names = {spooled(tmp_path, [number]).host_id() for number in range(3)}
    assert len(names) == 1


def test_the_gauge_knows_what_is_left(tmp_path: Path) -> None:
    folder = spooled(tmp_path, [5, 3, 4])
    gauge = Gauge(folder)
    found = gauge.usage()
    assert (found.callbacks, found.oldest_received_at, found.bytes) == (3, 1003.0, 3 * ENTRY_BYTES)
    Drainer(folder, Obedient(dies_after=2), batch=1).drain()
    found = gauge.usage()
    assert (found.callbacks, found.oldest_received_at, found.bytes) == (1, 1004.0, ENTRY_BYTES)
    drained(folder)
    assert gauge.usage().oldest_received_at is None
