"""The installed command in a process of its own, as a person starts it: its directory, its terminal, its Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.terminal import Terminal
from tests.support.waiting import until

__all__ = ["until"]

COMMAND = Path(sys.executable).with_name("deedbox")


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment without anybody's settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    return {**kept, "PORT": "0", "OPS_PORT": "0", **settings}


class Running(Terminal):
    """One command. Output goes to files, so that no full pipe ever blocks it."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            # A session of its own, so that a signal to its process group is Ctrl-C in its terminal.
            self.process = subprocess.Popen(
                [COMMAND, *arguments],
                cwd=folder,
                env=environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def says(self, text: str) -> str:
        """Wait until it printed a text; return everything printed."""

        def said() -> str:
            assert self.process.poll() is None or text in self.out + self.err, self.out + self.err
            return self.out + self.err if text in self.out + self.err else ""

        return str(until(said, f"it says {text!r}"))

    def child(self, *words: str) -> psutil.Process:
        """Wait for the direct child whose command line ends with these words; return it."""

        def found() -> psutil.Process | None:
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    line = child.cmdline()
                    if all(word in line or word in Path(line[0]).name for word in words):
                        return child
            return None

        child: psutil.Process = until(found, f"{words} runs")
        return child
