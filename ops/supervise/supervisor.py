"""Run a set of programs, start again what ends, and stop all of them in order.

The programs are direct children of this process. Each is in its own process group, so Ctrl-C in a terminal
reaches this process only and the order of the stop is ours: programs of the highest priority first, those of one
priority together, the lowest priority last.

Standard output and error of a program are those of this process, inherited, not copied: that works alike for a
terminal, a file, a pipe and the socket of a journal (which no ``/dev/stdout`` can open), and a reader that
stalls can not stall the supervision.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path
from typing import Final

from deedbox.ops.supervise import fork_client
from deedbox.ops.supervise.fork_client import Forked, ForkServer
from deedbox.ops.supervise.programs import Exit, Program, ending
from deedbox.ops.supervise.signals import STOP, Caught, caught, reader_has_gone
from deedbox.shared.runtime.data_dir import make_private, writable

__all__ = ["Program", "request_stop", "run"]

RESTART_MAX_S: Final = 10.0
"""Longest pause before a program that ends at once is tried again. There is no giving up: what it waits for
(a broker, a disk) may be back at any time."""

STARTED_AFTER_S: Final = 5.0
"""A program that ends sooner is restarted with a pause; importing an application alone can take seconds."""

RECENT_S: Final = 60.0
"""Ends within so long are counted together."""

_TURN_S: Final = 1.0
_IMPATIENCE_S: Final = 1.0


def run(
    programs: Sequence[Program],
    on_started: Callable[[], None] | None = None,
    *,
    on_exit: Callable[[Exit], None] | None = None,
    renew: Callable[[], Collection[str]] | None = None,
    logs: Path | None = None,
    fork_server: ForkServer | None = None,
) -> int:
    """Run the programs until SIGTERM, SIGINT, SIGQUIT or SIGHUP, and stop them; returns 0. Main thread only.

    A pipe whose reader has gone is taken as SIGHUP; both are ignored if SIGHUP was (``nohup``).

    ``on_started`` is called once, when each program has been started for the first time; ``on_exit`` when a process
    ended without being told to; ``renew`` in each turn, and the programs that it names are told to end and started again.
    They run between two turns of the supervision: they must return soon; if one raises, everything is stopped and ``run``
    raises it. With ``logs``, output goes to ``<logs>/<name>.log``. Python programs are forks of the ``fork_server``, if there
    is one. A second Ctrl-C kills what is being stopped. Raises SettingsError.
    """
    with ExitStack() as files, caught() as signals:
        processes = [
            _Process(program, name, None if logs is None else _log(files, logs / f"{name}.log"), fork_server)
            for program in sorted(programs, key=lambda each: each.priority)
            for name in _names(program)
        ]
        supervision = _Supervision(
            processes, on_exit or (lambda _exit: None), renew or (lambda: ()), fork_server
        )
        try:
            supervision.start()
            if on_started is not None:
                on_started()
            supervision.keep_up(signals)
        finally:
            supervision.stop(signals)
    return 0


def request_stop() -> None:
    """Ask the ``run`` of this process to stop everything and return; from any thread."""
    os.kill(os.getpid(), signal.SIGTERM)


def _names(program: Program) -> list[str]:
    if program.numprocs == 1:
        return [program.name]
    return [f"{program.name}-{number}" for number in range(program.numprocs)]


def _log(files: ExitStack, path: Path) -> int:
    with writable(path.parent):
        make_private(path.parent)
        return files.enter_context(path.open("ab")).fileno()


class _Process:
    """One process: running, or due to be started."""

    def __init__(
        self, program: Program, name: str, output: int | None, fork_server: ForkServer | None
    ) -> None:
        self.program, self.name = program, name
        self.due_at: float | None = 0.0
        """When it is to be started (monotonic seconds); None while it runs."""
        self._output = output
        self._fork_server = fork_server
        self._running: subprocess.Popen[bytes] | Forked | None = None
        self._started_at = 0.0
        self._pause_s = 0.0
        self._ends: deque[float] = deque(maxlen=1000)
        self._renewed = False

    @property
    def pid(self) -> int | None:
        """Of the process that runs, or whose end was not looked at yet."""
        return None if self._running is None else self._running.pid

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self._running is not None and self._running.poll() is None

    def start(self, now: float) -> Exit | None:
        """Start it. Returns its end if the system refused."""
        self._started_at, self.due_at = now, None
        try:
            outputs = () if self._output is None else (self._output, self._output)
            self._running = fork_client.start(
                self._fork_server, self.program.command, self.program.environment, outputs, self.program.lock
            )
        except (OSError, ValueError) as error:  # no memory, no process left; a NUL in an argument
            return self._ended(now, f"could not be started ({error})")
        return None

    def end(self, now: float) -> Exit | None:
        """Return its end, if it ended since the last look; it is then due again."""
        if self._running is None or (status := self._running.poll()) is None:
            return None
        self._running = None
        if self._renewed:
            self._renewed, self.due_at = False, now
            return None
        return self._ended(now, ending(status))

    def renew(self) -> None:
        """Tell it to end, to be started again at once: that is no fault of its own."""
        self._renewed = self.lives
        self.tell(signal.SIGTERM)

    def _ended(self, now: float, how: str) -> Exit:
        soon = now - self._started_at < STARTED_AFTER_S
        self._pause_s = min(self._pause_s + 1, RESTART_MAX_S) if soon else 0.0
        self.due_at = now + self._pause_s
        self._ends.append(now)
        recent = sum(at > now - RECENT_S for at in self._ends)
        return Exit(self.name, how, self._pause_s, recent, RECENT_S, self.program.log)

    def tell(self, number: signal.Signals) -> None:
        """Signal the program alone, for gunicorn ends its own workers; SIGKILL goes to all of its group.

        A worker that survives its master would keep the port.
        """
        if self._running is None or self._running.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self._running.pid, number)
            else:
                os.kill(self._running.pid, number)


class _Supervision:
    """The processes, in ascending priority."""

    def __init__(
        self,
        processes: Sequence[_Process],
        on_exit: Callable[[Exit], None],
        renew: Callable[[], Collection[str]],
        fork_server: ForkServer | None,
    ) -> None:
        self._processes = processes
        self._fork_server = fork_server
        self._on_exit = on_exit
        self._renew = renew
        self._stop_asked_at: float | None = None

    def start(self) -> None:
        """Start what is due."""
        now = time.monotonic()
        for process in self._processes:
            if process.due_at is not None and process.due_at <= now:
                self._tell(process.start(now))

    def keep_up(self, signals: Caught) -> None:
        """Start again what ends, until a stop is asked for."""
        stops_on_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        while not self._asked(signals.wait(self._rest_s())):
            now = time.monotonic()
            for process in self._processes:
                self._tell(process.end(now))
            if self._fork_server is not None:
                self._fork_server.keep_up(each.pid for each in self._processes if each.pid)
            if stops_on_hangup and reader_has_gone():
                return
            self.start()
            names = self._renew()
            for process in self._processes:
                if process.program.name in names:
                    process.renew()

    def stop(self, signals: Caught) -> None:
        """Stop everything, the highest priority first."""
        descending = reversed(self._processes)
        for _priority, members in groupby(descending, lambda process: process.program.priority):
            self._stop_stage(list(members), signals)

    def _stop_stage(self, members: Sequence[_Process], signals: Caught) -> None:
        began = time.monotonic()
        for process in members:
            process.tell(signal.SIGTERM)
        while alive := [process for process in members if process.lives]:
            impatient = self._impatient(signals.wait(0.1))
            waited_s = time.monotonic() - began
            for process in alive:
                if impatient or waited_s > process.program.stop_wait_s:
                    process.tell(signal.SIGKILL)

    def _rest_s(self) -> float:
        due = [process.due_at for process in self._processes if process.due_at is not None]
        return min([_TURN_S, *(at - time.monotonic() for at in due)])

    def _asked(self, numbers: Sequence[int]) -> bool:
        if not any(number in STOP for number in numbers):
            return False
        self._stop_asked_at = time.monotonic()
        return True

    def _impatient(self, numbers: Sequence[int]) -> bool:
        """Tell a second Ctrl-C from one that a wrapper (make, uv run) passes on: the terminal delivered it already."""
        if signal.SIGINT not in numbers:
            return False
        now = time.monotonic()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
        return now - self._stop_asked_at > _IMPATIENCE_S

    def _tell(self, end: Exit | None) -> None:
        if end is not None:
            self._on_exit(end)
