"""Run a set of programs, start again what ends, and stop all of them in order.

The work is done by the supervisor library, inside this process: the programs are its direct children. Each is
in a process group of its own, so Ctrl-C in a terminal reaches this process only and the order of the stop is
ours: programs of the highest priority first, those of one priority together, the lowest priority last.

Standard output and error of a program are those of this process, inherited, not copied: that works alike for a
terminal, a file, a pipe and the socket of a journal (which no ``/dev/stdout`` can open), and a reader that
stalls can not stall the supervision.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from supervisor import events
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import ProcessStates, SupervisorStates
from supervisor.supervisord import Supervisor

from deedbox.ops.supervise.programs import RESTART_MAX_S, Program, configuration
from deedbox.ops.supervise.signals import STOP, TAKEN, nobody_listens, restored, waking
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime.data_dir import make_private, writable, write_private

__all__ = ["Program", "request_stop", "run"]

_IMPATIENCE_S: Final = 1.0


def run(
    programs: Sequence[Program],
    run_dir: Path,
    on_started: Callable[[], None] | None = None,
    *,
    on_exit: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> int:
    """Run the programs until SIGTERM, SIGINT, SIGQUIT or SIGHUP, and stop them; returns 0. Main thread only.

    A pipe whose reader has gone is taken as SIGHUP; both are ignored if SIGHUP was (``nohup``).

    ``on_started`` is called once, when each program has been started for the first time; ``on_exit`` with the
    name of a process that ended without being told to. Both run between two turns of the supervision: they
    must return soon; if one raises, everything is stopped and ``run`` raises it. With ``quiet``, output goes to
    ``<run_dir>/<name>.log``. A second Ctrl-C kills what is being stopped. Raises SettingsError.
    """
    run_dir = run_dir.resolve()
    with writable(run_dir):
        make_private(run_dir)
        write_private(run_dir / "supervisord.conf", configuration(programs, run_dir))
    options = _Options(on_started, on_exit, inherit_output=not quiet)
    options.realize(["-c", str(run_dir / "supervisord.conf")], doc="")
    options.first, options.test = True, False
    _complete(options, programs, run_dir, quiet=quiet)
    supervisor = Supervisor(options)
    options.supervisor = supervisor
    with restored(), waking(options.get_socket_map()) as options.wake, suppress(ExitNow):
        options.wake()  # the first start comes after the first wait
        supervisor.main()
    events.clear()
    options.close_httpservers()
    options.close_logger()
    if options.failure is not None:
        raise options.failure
    return 0


def request_stop() -> None:
    """Ask the ``run`` of this process to stop everything and return; from any thread."""
    os.kill(os.getpid(), signal.SIGTERM)


class _Options(ServerOptions):  # type: ignore[misc]  # the library ships no types
    """The library's own extension point: how it makes pipes, takes signals and reports errors."""

    mood: Any = SupervisorStates.RUNNING

    def __init__(
        self,
        on_started: Callable[[], None] | None,
        on_exit: Callable[[str], None] | None,
        *,
        inherit_output: bool,
    ) -> None:
        super().__init__()
        self.supervisor: Any = None
        self.failure: Exception | None = None
        self.wake: Callable[[], None] = lambda: None
        self._on_started, self._on_exit = on_started, on_exit
        self._inherit_output = inherit_output
        self._stops_on_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._stop_asked_at: float | None = None

    def usage(self, msg: object) -> None:
        """Refuse a configuration."""
        raise SettingsError(f"The programs cannot be run: {msg}")

    def make_pipes(self, stderr: bool = True) -> dict[str, int | None]:  # noqa: FBT001, FBT002 - not our signature
        """Give the child this process's own output, and nothing to read."""
        if not self._inherit_output:
            return super().make_pipes(stderr)  # type: ignore[no-any-return]
        return {
            "stdin": None,
            "stdout": None,
            "stderr": None,
            "child_stdin": os.open(os.devnull, os.O_RDONLY),
            "child_stdout": os.dup(1),
            "child_stderr": os.dup(2) if stderr else None,
        }

    def fork(self) -> int:
        """Fork so that no stop gets lost: until its exec a child would take signals with our handlers, and drop them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
        try:
            pid: int = super().fork()
            if pid == 0:
                for number in TAKEN:
                    if callable(signal.getsignal(number)):
                        signal.signal(number, signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def setsignals(self) -> None:
        """Take the signals; called after the library has forgotten all subscriptions, before the first start."""
        super().setsignals()
        # The library restarts everything on SIGHUP. A closed terminal means stop; nohup means carry on.
        signal.signal(signal.SIGHUP, self._hang_up if self._stops_on_hangup else signal.SIG_IGN)
        events.subscribe(events.ProcessStateBackoffEvent, self._limit_pause)
        events.subscribe(events.ProcessStateExitedEvent, self._tell_exit)

    def get_signal(self) -> int | None:
        """Return the next signal, if any; called once a turn, after every due program was started."""
        if self._on_started is not None:
            started, self._on_started = self._on_started, None
            self._call(started)
        if self._stops_on_hangup and self.mood > SupervisorStates.SHUTDOWN and nobody_listens():
            self.logger.warn("the reader of our output has gone: stopping")  # noqa: G010 - not logging's
            self.mood = SupervisorStates.SHUTDOWN
        received: int | None = super().get_signal()
        if received in STOP:
            now = time.monotonic()
            if self._stop_asked_at is None:
                self._stop_asked_at = now
            # Wrappers (make, uv run) pass on the Ctrl-C that the terminal delivered already: not a second one.
            elif received == signal.SIGINT and now - self._stop_asked_at > _IMPATIENCE_S:
                self._kill_stopping()
        return received

    def _hang_up(self, _signal: int, frame: object) -> None:
        self.signal_receiver.receive(signal.SIGTERM, frame)

    def _limit_pause(self, event: Any) -> None:
        """Pause 1, 2, 3... s up to the maximum; a count that stays below ``startretries`` never gives up."""
        process = event.process
        process.backoff = min(process.backoff, RESTART_MAX_S)
        process.delay = min(process.delay, time.time() + RESTART_MAX_S)
        self._tell_exit(event)

    def _tell_exit(self, event: Any) -> None:
        self.wake()
        if self._on_exit is not None:
            self._call(self._on_exit, event.process.config.name)

    def _call(self, callback: Callable[..., None], *arguments: str) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 - raised by run(), once the programs have ended
            self.failure = self.failure or error
            self.mood = SupervisorStates.SHUTDOWN

    def _kill_stopping(self) -> None:
        for group in self.supervisor.process_groups.values():
            for process in group.processes.values():
                if process.get_state() == ProcessStates.STOPPING:
                    process.delay = 0


def _complete(options: _Options, programs: Sequence[Program], run_dir: Path, *, quiet: bool) -> None:
    """Set what the file cannot express: values with any character, and secrets."""
    by_name = {program.name: program for program in programs}
    for group in options.process_group_configs:
        for process in group.process_configs:
            # One of several processes is called NAME-0, NAME-1...
            program = by_name.get(process.name) or by_name[process.name.rpartition("-")[0]]
            process.environment = dict(program.environment)
            if quiet:
                process.redirect_stderr = True
                process.stdout_logfile = str(run_dir / f"{process.name}.log")
