"""A command in a session of its own, as if in a terminal: Ctrl-C, its exit code, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

import psutil

from tests.support.waiting import PATIENCE_S


class Terminal:
    """Whoever inherits starts ``process`` with ``start_new_session``."""

    process: subprocess.Popen[Any]

    def children(self) -> list[psutil.Process]:
        """Return all descendants."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Return the exit code."""
        return self.process.wait(timeout=patience_s)

    def close(self) -> None:
        """End whatever a failed test left."""
        if self.process.poll() is None:
            left = self.children()
            self.process.kill()
            self.process.wait()
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
