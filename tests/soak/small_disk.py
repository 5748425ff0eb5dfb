"""A small file system for the data directory, which another program fills now and then. Needs root.

The spool, the embedded Redis and the documents are on it. A Redis that cannot write its append-only file ends, so for some
seconds neither the broker nor the spool takes a callback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = "384m"
FULL_S: Final = 4.0
_PIECE: Final = bytes(1024 * 1024)


class SmallDisk:
    """The file system, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / "of-another-program"
        self._filling: threading.Thread | None = None
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "soak", folder], check=True)

    def fill(self) -> None:
        """Leave no room on it for some seconds."""
        if self._filling is None or not self._filling.is_alive():
            self._filling = threading.Thread(target=self._fill, name="disk filler")
            self._filling.start()

    def _fill(self) -> None:
        until = time.monotonic() + FULL_S
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        try:
            while time.monotonic() < until:
                piece = _PIECE
                while piece:
                    try:
                        os.write(descriptor, piece)
                    except OSError:  # no room for so much
                        piece = piece[: len(piece) // 2]
                time.sleep(0.02)  # what others give back meanwhile is taken, too
        finally:
            os.close(descriptor)
            self._filler.unlink()

    def close(self) -> None:
        """Keep the files in an ordinary folder of the same name. Nothing may run in it any more."""
        if self._filling is not None:
            self._filling.join()
        kept = self._folder.with_name(f"{self._folder.name}.kept")
        with suppress(FileNotFoundError):
            shutil.copytree(self._folder, kept)
        subprocess.run(["umount", self._folder], check=True)
        self._folder.rmdir()
        kept.rename(self._folder)
