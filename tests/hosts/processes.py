"""Processes on hosts, each started again one second after it ends, as systemd does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.hosts.network import Host

RESTART_S: Final = 1.0


class Kept:
    """One process that is kept running until ``close``."""

    def __init__(
        self,
        host: Host,
        command: tuple[str, ...],
        environment: Callable[[], Mapping[str, str]],
        folder: Path,
    ) -> None:
        """``environment``: asked at each start."""
        self.host = host
        self._command, self._environment = host.command(*command), environment
        self._folder = folder
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._thread = threading.Thread(target=self._keep, name=f"{host.name} {command[-1]}")
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now, or ran last."""
        return self._process.pid if self._process is not None else None

    def terminate(self) -> None:
        """SIGTERM the process; another one is started."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End it for good."""
        self._closing.set()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._thread.join()

    def _keep(self) -> None:
        name = "-".join([self.host.name, *self._command[-2:]]).replace("/", "_")
        with (self._folder / f"{name}.log").open("ab") as log:
            while not self._closing.is_set():
                self._process = subprocess.Popen(
                    self._command, cwd=self._folder, env={**os.environ, **self._environment()},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
                self.starts += 1
                self._process.wait()
                self._closing.wait(RESTART_S)
