"""Processes of a run: started with their output in files, measured over their whole tree, always ended by pid.

Does not measure anything itself but CPU time, which the kernel counts in ticks of 10 ms.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from deedbox.shared.runtime.child import command_line

ROOT: Final = Path(__file__).resolve().parents[2]
HOST: Final = "127.0.0.1"
START_WAIT_S: Final = 30.0
STOP_WAIT_S: Final = 8.0

_PORTS: Final = range(18_000, 30_000)
"""Below the ports that the kernel hands out to clients: 16 connections a request must not meet a server's."""


class BenchError(Exception):
    """The run cannot go on, or a subject did not do what it is measured for; the text is for the terminal."""


class Crew:
    """All processes of a run. Leaving the block ends them, and their children, by pid."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop(*self._running)

    def spawn(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None, *, pipes: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a program in the project's directory. ``pipes``: stdin and stdout are ours; else both go to its log.

        The launcher of ``deedbox up`` sees to it that the program ends with us, even if we are killed.
        """
        self._started += 1
        log = self._directory / f"{self._started:03d}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command_line(tuple(command), parent=os.getpid()),
                cwd=ROOT,
                env=environment(environ or {}),
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else out,
                stderr=out,
                # Ctrl-C is for us alone: we end the others in our own order.
                start_new_session=True,
            )
        self._running.append(process)
        self._logs[process.pid] = log
        return process

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        """End these processes and whatever they started: asked first, then killed."""
        doomed: list[psutil.Process] = []
        for process in processes:
            with suppress(psutil.Error):
                doomed += psutil.Process(process.pid).children(recursive=True)
            with suppress(OSError):
                process.terminate()
        deadline = time.monotonic() + STOP_WAIT_S
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        for child in doomed:
            with suppress(psutil.Error):
                child.kill()
        self._running = [each for each in self._running if each not in processes]

    def wait_for(
        self, what: str, ready: Callable[[], bool], wait_s: float = START_WAIT_S, pause_s: float = 0.02
    ) -> None:
        """Wait until ``ready``. Raises BenchError after ``wait_s`` seconds, or at once if a process has ended."""
        deadline = time.monotonic() + wait_s
        while not ready():
            for process in self._running:
                if process.poll() is not None:
                    raise BenchError(
                        f"{what}: a process ended with {process.returncode}: {self._last(process)}"
                    )
            if time.monotonic() > deadline:
                raise BenchError(f"{what}: not within {wait_s:g} s; {self._last(self._running[-1])}")
            time.sleep(pause_s)

    def _last(self, process: subprocess.Popen[bytes]) -> str:
        lines = self._logs[process.pid].read_text(errors="replace").splitlines()
        return " | ".join(lines[-4:])[-1200:]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without settings of a Deedbox of the user's, and with ``more``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DEEDBOX_", "CELERY_", "RQ_", "GUNICORN_"))
        and name not in {"PORT", "OPS_PORT"}
    }
    return kept | dict(more)


def python(*arguments: str) -> tuple[str, ...]:
    """Return a command of this interpreter."""
    return (sys.executable, *arguments)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    for _ in range(100):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise BenchError("no free port was found")


def cpu_s(*processes: subprocess.Popen[bytes]) -> float:
    """Return user + system seconds that these processes and all their descendants have used."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(process.pid)
            for each in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += sum(each.cpu_times()[:4])
    return total


class ForeignCpu:
    """How much of the machine other programs took since this was made; that much noise is in the numbers."""

    def __init__(self) -> None:
        self._before = self._now()

    def share(self) -> float:
        """Return the share (0..1) of all cores' time that was neither idle nor ours; ours counts once it has ended."""
        busy, whole, ours = (now - before for now, before in zip(self._now(), self._before, strict=True))
        return max(0.0, busy - ours) / whole if whole else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        # guest times are contained in user; waiting for a disk is no work.
        whole = sum(times[:8])
        idle = times.idle + getattr(times, "iowait", 0.0)
        return whole - idle, whole, sum(os.times()[:4])
