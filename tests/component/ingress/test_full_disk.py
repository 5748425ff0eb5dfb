"""Giving space back needs no space: whatever the disk refuses, the spool is empty in the end.

Three ways to a full disk: SQLite and the folder are told that an operation failed, one after the other; a limit on
the size of files; and a real file system of 12 megabytes that is full to the last byte.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from deedbox.ingress.spool import database
from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.quarantine import Quarantine
from deedbox.ingress.spool.writer import NotSpooled, Spool
from deedbox.shared.core.reasons import Refusal
from tests.component.ingress.spooling import GIB, Obedient, left, numbered, spooled
from tests.component.workers.server import missing

COUNT = 9
REASONS = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_IOERR_WRITE,
    errno.EIO: sqlite3.SQLITE_IOERR_FSYNC,
}


class Faults:
    """Counts disk operations, and lets some fail."""

    def __init__(self) -> None:
        self.count = 0
        self.fail: Callable[[int], bool] = lambda _: False
        self.errno = errno.ENOSPC

    def step(self, *, sql: bool) -> None:
        self.count += 1
        if self.fail(self.count):
            if not sql:
                raise OSError(self.errno, os.strerror(self.errno))
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = REASONS[self.errno]
            raise error


@contextmanager
def injected(faults: Faults) -> Iterator[None]:
    """Let every statement of SQLite, and everything that the folder asks of the disk, pass the faults first."""

    class Faulty(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            faults.step(sql=True)
            return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> sqlite3.Cursor:
            faults.step(sql=True)
            return super().executemany(*arguments)

        def executescript(self, *arguments: Any) -> sqlite3.Cursor:
            faults.step(sql=True)
            return super().executescript(*arguments)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        faults.step(sql=True)
        return real(*arguments, factory=Faulty, **options)

    def faulty(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            faults.step(sql=False)
            return original(*arguments, **options)

        return call

    real = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        for name in ("truncate", "posix_fallocate", "open", "link", "fsync", "write", "chown"):
            patch.setattr(os, name, faulty(name))
        yield


def from_to(first: int, last: int) -> Callable[[int], bool]:
    return lambda number: first <= number <= last


def drain_to_the_end(data_dir: Path, broker: Obedient, turns: int = 4) -> None:
    drainer = Drainer(SpoolDir(data_dir), broker, batch=4)
    for _ in range(turns):
        drainer.drain()
    drainer.close()


def steps_of_a_drain(data_dir: Path) -> int:
    spooled(data_dir, range(COUNT))
    faults = Faults()
    with injected(faults):
        drain_to_the_end(data_dir, Obedient(refuses={5}), turns=2)
    return faults.count


@pytest.mark.parametrize("code", REASONS)
def test_any_single_operation_of_the_drain_may_fail_and_each_callback_is_published_once(
    tmp_path: Path, code: int
) -> None:
    steps = steps_of_a_drain(tmp_path / "count")
    assert steps > 40
    for step in range(1, steps + 1):
        data_dir = tmp_path / str(step)
        spooled(data_dir, range(COUNT))
        faults, broker = Faults(), Obedient()
        faults.errno, faults.fail = code, from_to(step, step)
        with injected(faults):
            drain_to_the_end(data_dir, broker)
        assert Counter(broker.taken) == Counter(range(COUNT)), f"operation {step}"
        assert left(SpoolDir(data_dir)) == 0, f"operation {step}"


@pytest.mark.parametrize("code", REASONS)
@pytest.mark.parametrize("outage", [7, 40])
def test_the_disk_may_fail_for_long_and_each_callback_is_published_once(
    tmp_path: Path, code: int, outage: int
) -> None:
    """From any operation on, for so many operations, with a callback that must be set aside among the others."""
    steps = steps_of_a_drain(tmp_path / "count")
    for first in range(1, steps + 1, 5):
        data_dir = tmp_path / str(first)
        spooled(data_dir, range(COUNT))
        faults, broker = Faults(), Obedient(refuses={5})
        faults.errno, faults.fail = code, from_to(first, first + outage - 1)
        with injected(faults):
            drain_to_the_end(data_dir, broker, turns=60)
        once = Counter(broker.taken)
        # Those behind the bad one, and the newest, are the proof that the broker is well.
        assert set(once) == set(range(COUNT)) - {5}, f"from operation {first} on"
        assert all(once[number] == 1 for number in range(4)), f"from operation {first} on"
        quarantine = Quarantine(SpoolDir(data_dir))
        assert len(quarantine.all()) == 1
        quarantine.close()
        assert left(SpoolDir(data_dir)) == 0, f"from operation {first} on"


def test_a_disk_that_stays_full_for_good_costs_no_repeats_while_the_process_lives(tmp_path: Path) -> None:
    spooled(tmp_path, range(COUNT))
    faults, broker = Faults(), Obedient()
    drainer, other = (Drainer(SpoolDir(tmp_path), broker, batch=4) for _ in range(2))
    with injected(faults), pytest.MonkeyPatch.context() as patch:

        def full(_self: object, _remove: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(database.Database, "give_back", full)
        for _ in range(5):
            drainer.drain()
            assert other.drain().busy  # it would repeat what is not written down
    assert broker.taken == list(range(COUNT))
    drainer.drain()
    assert left(SpoolDir(tmp_path)) == 0
    assert broker.taken == list(range(COUNT))


LIMITED = """
import resource, sys
from pathlib import Path
from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import NotSpooled, Spool
from tests.component.ingress.spooling import GIB, Obedient, left, numbered
folder = SpoolDir(Path(sys.argv[1]))
spool = Spool(folder, GIB)
spool.append(numbered(0), 5)
resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 20, 12 << 20))
number = 1
while True:
    try:
        spool.append(numbered(number, 3000), 5)
    except NotSpooled as error:
        break
    number += 1
broker = Obedient()
drainer = Drainer(folder, broker)
for _ in range(3):
    drainer.drain()
assert broker.taken == list(range(number)), (len(broker.taken), number)
assert left(folder) == 0
spool.append(numbered(1), 5)
print("refused after", number)
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Make a file system of 12 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        missing("Mounting a small file system needs root (CAP_SYS_ADMIN).")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def to_the_last_byte(place: Path) -> None:
    """Fill a file system as another program would."""
    with (place / "filler").open("ab", buffering=0) as filler:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while True:
                    filler.write(bytes(size))


def refusal(spool: Spool, first: int, size_bytes: int) -> tuple[list[int], NotSpooled]:
    taken: list[int] = []
    for number in range(first, first + 10_000):
        try:
            spool.append(numbered(number, size_bytes), 5)
        except NotSpooled as error:
            return taken, error
        taken.append(number)
    raise AssertionError


@pytest.mark.parametrize("size_bytes", [900, 3000, 30_000, 400_000])
@pytest.mark.parametrize("closed", [False, True])
def test_a_spool_that_filled_its_disk_drains_by_itself(
    small_disk: Path, size_bytes: int, *, closed: bool
) -> None:
    """Also if all processes ended meanwhile, and other programs took what was left."""
    spool = Spool(SpoolDir(small_disk), GIB)
    taken, error = refusal(spool, 0, size_bytes)
    assert error.reason is Refusal.SPOOL_FULL
    assert f"make room on the disk of {small_disk / 'spool'}" in str(error)
    to_the_last_byte(small_disk)
    trouble = spool.trouble()
    assert trouble is not None
    assert trouble.reason is Refusal.SPOOL_FULL
    if closed:
        spool.close()
    broker = Obedient()
    drainer = Drainer(SpoolDir(small_disk), broker)
    for _ in range(5):
        drainer.drain()
    assert broker.taken == taken
    assert left(SpoolDir(small_disk)) == 0
    (small_disk / "filler").unlink()
    spool.append(numbered(1), 5)
    spool.close()
    drainer.close()


def test_what_was_refused_for_want_of_room_never_shows_up(small_disk: Path) -> None:
    """Not as a callback, and not as one that the disk damaged (spool_damaged)."""
    spool = Spool(SpoolDir(small_disk), GIB)
    taken, refused = [], 0
    broker = Obedient()
    for turn in range(4):
        more, _ = refusal(spool, 100_000 * turn, 7000)
        taken += more
        for _ in range(10):
            with pytest.raises(NotSpooled):
                spool.append(numbered(9_999_999, 50_000), 5)
            refused += 1
        Drainer(SpoolDir(small_disk), broker, batch=20).drain()
    spool.close()
    drain_to_the_end(small_disk, broker)
    assert broker.taken == taken
    assert refused
    quarantine = Quarantine(SpoolDir(small_disk))
    assert quarantine.all() == []
    quarantine.close()
