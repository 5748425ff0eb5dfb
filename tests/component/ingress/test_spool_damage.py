"""A power cut, or a disk that forgets: what was acknowledged and is still readable comes out, and nothing stops."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import KEPT, SpoolDir
from deedbox.ingress.spool.quarantine import Quarantine, QuarantinedCallback
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.reasons import DeathReason
from tests.component.ingress.spooling import GIB, Obedient, left, number_of, numbered, spooled

PAGE = 4096


def drained(data_dir: Path, turns: int = 4) -> tuple[list[int], list[QuarantinedCallback]]:
    folder, broker = SpoolDir(data_dir), Obedient()
    drainer, quarantine = Drainer(folder, broker), Quarantine(folder)
    for _ in range(turns):
        drainer.drain()
    found = broker.taken, quarantine.all()
    drainer.close()
    quarantine.close()
    return found


def wal_of(folder: SpoolDir) -> Path:
    return Path(f"{folder.database()}-wal")


def test_a_power_cut_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Whatever the disk has of a commit that was under way, it has all of those before."""
    folder = SpoolDir(tmp_path / "var")
    spool = Spool(folder, GIB)
    durable: list[int] = []
    for number in range(12):
        spool.append(numbered(number, size_bytes=700 * number), 5)
        durable.append(wal_of(folder).stat().st_size)
    for number, (start, end) in enumerate(itertools.pairwise(durable)):
        for cut in {start, start + 1, start + 24, (start + end) // 2, end - 1}:
            copy = tmp_path / f"cut-{cut}"
            shutil.copytree(tmp_path / "var", copy, ignore=shutil.ignore_patterns("*-shm"))
            wal = wal_of(SpoolDir(copy))
            wal.write_bytes(wal.read_bytes()[:cut])
            taken, aside = drained(copy)
            assert taken == list(range(number + 1)), f"cut at {cut}"
            assert aside == []
            shutil.rmtree(copy)
    spool.close()


def test_zeros_at_the_end_of_the_log_are_no_callback(tmp_path: Path) -> None:
    """Some file systems show them after a power cut."""
    folder = SpoolDir(tmp_path / "var")
    spool = Spool(folder, GIB)
    for number in range(5):
        spool.append(numbered(number), 5)
    shutil.copytree(tmp_path / "var", tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    spool.close()
    with wal_of(SpoolDir(tmp_path / "copy")).open("ab") as log:
        log.write(bytes(3 * PAGE))
    assert drained(tmp_path / "copy") == (list(range(5)), [])


def overwritten(page: int) -> Callable[[bytes], bytes]:
    return lambda content: content[: page * PAGE] + b"\xa5" * PAGE + content[(page + 1) * PAGE :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "the head": overwritten(0),
    "half of it is gone": lambda content: content[: len(content) // 2],
    "all of it is gone": lambda content: content[:PAGE],
    "not a database": lambda content: b"no database" * (len(content) // 11),
    **{f"page {page}": overwritten(page) for page in range(1, 30)},
}


ROOT = "page 2"
"""Without the root of the table SQLite finds none of its rows."""


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_stops_nothing_and_gives_what_can_be_read(tmp_path: Path, damage: str) -> None:
    folder = spooled(tmp_path, range(200))
    database = folder.database()
    database.write_bytes(DAMAGE[damage](database.read_bytes()))
    spool = Spool(folder, GIB)
    for number in range(1000, 1010):
        spool.append(numbered(number), 5)
    taken, aside = drained(tmp_path)
    assert set(range(1000, 1010)) <= set(taken)
    assert left(folder) == 0
    for number in range(2000, 2010):
        spool.append(numbered(number), 5)
    spool.close()
    assert set(range(2000, 2010)) <= set(drained(tmp_path)[0])
    lost = set(range(200)) - set(taken)
    if damage.startswith("page") and damage != ROOT:
        assert len(lost) < 60
    if lost:
        assert {each.reason for each in aside} == {DeathReason.SPOOL_DAMAGED}
    if folder.database() != database:
        assert any(str(database) in each.detail for each in aside)
        assert database.exists()
        assert database.with_suffix(KEPT).exists()


def test_callbacks_are_copied_out_of_a_damaged_database_once_each_although_it_takes_several_turns(
    tmp_path: Path,
) -> None:
    folder = spooled(tmp_path, range(900))
    database = folder.database()
    folder.set_aside(database)
    now = [0.0]

    def tick() -> float:
        now[0] += 1
        return now[0]

    broker = Obedient()
    for _ in range(30):
        drainer = Drainer(folder, broker, monotonic=tick)  # as a process that is killed and started again
        drainer.drain(now[0] + 4)
        drainer.close()
    assert broker.taken == list(range(900))
    assert left(folder) == 0


def test_two_processes_agree_on_the_next_database(tmp_path: Path) -> None:
    folder = SpoolDir(tmp_path)
    one, other = Spool(folder, GIB), Spool(folder, GIB)
    one.append(numbered(1), 5)
    other.append(numbered(2), 5)
    folder.set_aside(folder.database())
    one.append(numbered(3), 5)
    other.append(numbered(4), 5)
    assert len([path for path in folder.path.iterdir() if path.suffix == ".sqlite3"]) == 2
    taken, _ = drained(tmp_path)
    assert sorted(taken) == [1, 2, 3, 4]
    one.close()
    other.close()


UNREADABLE = range(50, 56)
"""Callbacks of a page that the disk cannot read."""


class _PartOfTheDisk(sqlite3.Cursor):
    def __next__(self) -> Any:
        row = super().__next__()
        for value in row:
            if isinstance(value, bytes) and number_of(Envelope.unpack(value)) in UNREADABLE:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
                raise error
        return row


class _OnThatDisk(sqlite3.Connection):
    def execute(self, *arguments: Any) -> Any:
        return self.cursor(_PartOfTheDisk).execute(*arguments)


def test_a_page_that_the_disk_cannot_read_holds_back_no_other_callback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = spooled(tmp_path, range(200))
    database = folder.database()
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_OnThatDisk))
    taken, aside = drained(tmp_path)
    assert sorted(taken) == sorted(set(range(200)) - set(UNREADABLE))
    assert left(folder) == 0
    [letter] = aside
    assert letter.reason == DeathReason.SPOOL_DAMAGED
    assert str(database) in letter.detail
    assert f"up to {len(UNREADABLE)} are lost" in letter.detail
