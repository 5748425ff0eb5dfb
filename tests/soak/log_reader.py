"""The reader of what the processes log, who stalls now and then."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Final

STALL_S: Final = 5.0


class LogReader:
    """Copies what the processes write to a file, but for the times in which it stalls."""

    def __init__(self, path: Path) -> None:
        reading, self.writing = os.pipe()
        self._stalled_until = 0.0
        self._thread = threading.Thread(target=self._copy, args=(reading, path), name="log reader")
        self._thread.start()

    def stall(self) -> None:
        """Read nothing for some seconds."""
        self._stalled_until = time.monotonic() + STALL_S

    def close(self) -> None:
        """Wait for the last line; every writer must have ended."""
        os.close(self.writing)
        self._thread.join()

    def _copy(self, reading: int, path: Path) -> None:
        with path.open("ab", buffering=0) as log:
            while data := os.read(reading, 65536):
                log.write(data)
                while time.monotonic() < self._stalled_until:
                    time.sleep(0.05)
        os.close(reading)
