"""The files in which web processes count for the metrics port, and what becomes of those of dead processes.

Counts must outlive a process, files must not: workers come and go by the hundred (``max_requests``), and a scrape
reads every file. So the master adds a dead worker's counts to one file and removes the worker's own.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deedbox.shared.runtime import logs
from deedbox.shared.runtime.data_dir import make_private

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder to ``prometheus_client``, and switches its multiprocess mode on when it is imported."""

FOLDED: Final = "folded"
_LOCK: Final = "lock"

_log = logs.get("metrics")


class MetricsFiles:
    """The folder of one gunicorn master and its workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dead: set[int] = set()

    def start_anew(self) -> None:
        """Empty the folder: counts begin at zero with each master. Raises OSError."""
        make_private(self._folder)
        for path in self._folder.iterdir():
            path.unlink()
        (self._folder / _LOCK).touch(0o600)
        os.environ[VARIABLE] = str(self._folder)

    def bury(self, pid: int) -> None:
        """Fold the counts of a dead process. It does not wait: while a scrape reads, it is put off to the next call."""
        self._dead.add(pid)
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                while self._dead:
                    self._fold(self._dead.pop())
        except BlockingIOError:
            return
        except Exception as error:  # noqa: BLE001 - the master of a web server does not end for its metrics
            _log.warning("metrics.not_folded", exception=type(error).__name__)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the files as they are inside the block: no count is there twice, or missing. Raises OSError."""
        with self._locked(fcntl.LOCK_SH):
            yield

    def _fold(self, pid: int) -> None:
        from prometheus_client.mmap_dict import MmapedDict
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(self._folder))
        for kind in ("counter", "histogram"):
            mine = self._folder / f"{kind}_{pid}.db"
            if not mine.exists():
                continue
            total = MmapedDict(str(self._folder / f"{kind}_{FOLDED}.db"))
            try:
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(mine)):
                    total.write_value(key, total.read_value(key)[0] + value, 0.0)
            finally:
                total.close()
                mine.unlink()

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        descriptor = os.open(self._folder / _LOCK, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)
