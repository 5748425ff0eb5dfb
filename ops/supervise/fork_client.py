"""Starts programs as forks of a fork server: they share the memory of what they import, and start in no time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deedbox.ops.supervise import fork_server, orphans
from deedbox.shared.runtime import child

# Nothing else: the fork server is started before this process imports what it needs itself.

OURS: Final = "DEEDBOX_"
"""Variables that begin so are withheld from the fork server: settings, with the secrets. Each fork is given its own."""

WORKERS: Final = "deedbox.workers.__main__"
MODULES: Final = (
    *(WORKERS, "deedbox.ingress.__main__", "deedbox.ops.web.__main__"),
    *("deedbox.shared.runtime.asgi_worker", "gunicorn_h1c", "uvloop"),
    *("kombu.transport.redis", "encodings.idna"),
)
"""What the programs of ``up`` are made of, with what their libraries would import when they begin."""

IMPORT_S: Final = 60.0
"""How long the imports may take; then each program makes its own."""

_ANSWER_S: Final = 10.0


class Forked:
    """A program that was forked: a child of this process, as one of ``subprocess``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, or the negative number of the signal that ended it; None while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._status = 255
            else:
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


class ForkServer:
    """The fork server of this process. It starts at once; the first fork waits for its imports, no later one does."""

    def __init__(self, environ: Mapping[str, str], modules: Sequence[str] = MODULES) -> None:
        self._environment = {name: value for name, value in environ.items() if not name.startswith(OURS)}
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready = False
        self._patience_s = IMPORT_S
        self._adopts = False

    def __enter__(self) -> Self:
        self._adopts = orphans.adopt()
        if self._adopts:
            self._start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end()

    def keep_up(self, children: Iterable[int]) -> None:
        """Start it again if it ended, and take the exit status of what forks left behind; returns at once.

        ``children``: those whose status someone waits for.
        """
        self._look(0.0)
        if self._adopts:
            orphans.reap({*children, *([] if self._process is None else [self._process.pid])})

    def fork(
        self, command: Sequence[str], environment: Mapping[str, str] | None, outputs: Sequence[int]
    ) -> Forked | None:
        """Start ``PYTHON -m MODULE ...``; None: it needs an interpreter of its own, for there is no server (yet, any more)."""
        if tuple(command[:2]) != (sys.executable, "-m") or not self._look(self._patience_s):
            return None
        theirs, ours = os.pipe()
        with open(ours, "wb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor, not a path
            try:
                pid = self._ask(theirs, *outputs)
            finally:
                os.close(theirs)
            if pid is None:
                return None  # a fork that was made all the same reads nothing, and ends
            program = json.dumps(
                {"command": command, "environment": dict(environment or os.environ)}
            ).encode()
            with suppress(BrokenPipeError):  # it ended at once: its status says so
                while program:
                    program = program[pipe.write(program) :]
        return Forked(pid)

    def _ask(self, *descriptors: int) -> int | None:
        """Have a program forked that reads from the first descriptor what it is. Returns its pid."""
        try:
            socket.send_fds(self._demanded(), [b"f"], descriptors)
            answer = self._line(_ANSWER_S)
        except OSError:  # it ended, or hangs: another is started in the next turn
            self._kill()
            return None
        return int(answer) if answer.isdecimal() else None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        command = (sys.executable, "-m", fork_server.__name__, *self._modules, fork_server.ROOM)
        with theirs:
            self._process = subprocess.Popen(
                child.command_line(command, parent=os.getpid()),
                env=self._environment,
                stdin=theirs.fileno(),
                process_group=0,
            )
        self._socket = ours
        self._ready = False

    def _look(self, timeout_s: float) -> bool:
        """Return whether it is ready; one that was ready and ended is started again."""
        if self._socket is None:
            return False
        was_ready = self._ready
        if self._process is None or self._process.poll() is not None:
            self._end()
            if was_ready:
                self._start()
            return False
        if not self._ready:
            with suppress(OSError):
                self._ready = self._line(timeout_s) == fork_server.READY
            if timeout_s:
                self._patience_s = 0.0
        return self._ready

    def _line(self, timeout_s: float) -> str:
        """Read an answer. Raises OSError if there is none in time."""
        self._demanded().settimeout(timeout_s)
        return self._demanded().recv(256).decode().strip()

    def _demanded(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("there is no fork server")
        return self._socket

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._kill()
            self._process.wait()
        self._socket = self._process = None

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()


def start(
    forks: ForkServer | None,
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    outputs: Sequence[int] = (),
    lock: Path | None = None,
) -> Forked | subprocess.Popen[bytes]:
    """Start a program as a child of this process, in its own group: a fork where that is possible.

    ``outputs``: descriptors of its standard output and error; none: those of this process. ``lock``: what it holds while
    it lives. Raises OSError or ValueError if the system refuses.
    """
    forked = None if forks is None else forks.fork(command, environment, outputs)
    output, error = outputs or (None, None)
    return forked or subprocess.Popen(
        child.command_line(tuple(command), parent=os.getpid(), lock=lock),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=error,
        process_group=0,
    )
