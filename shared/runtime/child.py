"""Launcher of the children of ``deedbox up``: ends with its parent, may hold a lock, then becomes the program.

``python -m deedbox.shared.runtime.child [--parent PID] [--lock FILE] [--] command...``

It runs before each start and restart, so it imports the standard library only. ``python -I -S`` starts it by its path:
that takes about 20 ms, and cannot find another package called ``shared``.
"""

from __future__ import annotations

import ctypes
import fcntl
import getopt
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

LOCK_WAIT_S: Final = 10.0
"""How long a new server waits for its predecessor to end; a Redis that is told to stop needs well under that."""

_PR_SET_PDEATHSIG: Final = 1
_EX_USAGE: Final = 64
_EX_TEMPFAIL: Final = 75
_NOT_FOUND: Final = 127


def command_line(command: tuple[str, ...], *, parent: int, lock: Path | None = None) -> tuple[str, ...]:
    """Return the argument list that runs ``command`` as a child of process ``parent``, holding ``lock`` if given."""
    options = ("--parent", str(parent)) + (("--lock", str(lock)) if lock else ())
    return (sys.executable, "-I", "-S", str(Path(__file__).resolve()), *options, "--", *command)


def main(arguments: list[str]) -> NoReturn:
    """Become the command; exits with one sentence on stderr if that is not possible."""
    try:
        found, command = getopt.getopt(arguments, "", ["parent=", "lock="])
        options = dict(found)
        parent = int(options.get("--parent", os.getppid()))
    except (getopt.GetoptError, ValueError) as error:
        _give_up(f"{error}; usage: [--parent PID] [--lock FILE] [--] command...", _EX_USAGE)
    if not command:
        _give_up("no command was given.", _EX_USAGE)
    end_with(parent)
    # A child is no member of the terminal's foreground process group: after `stty tostop` its first line of
    # output would stop it for good.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    if "--lock" in options:
        hold(Path(options["--lock"]))
    try:
        os.execvp(command[0], command)  # noqa: S606 - replacing this process is the point
    except OSError as error:
        _give_up(f"{command[0]} cannot be started: {error.strerror}.", _NOT_FOUND)


def end_with(parent: int) -> None:
    """Ask the kernel to send SIGTERM when ``parent`` ends, however it ends. Linux only; elsewhere a no-op."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # The parent may have died between the fork and the request above: then no signal will ever come.
    if os.getppid() != parent:
        sys.exit(0)


def hold(path: Path) -> None:
    """Take the lock for as long as this process lives, whatever program it becomes.

    The descriptor passes through exec, so only the end of the process gives the lock back: no clean-up code
    that a SIGKILL could skip.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                _give_up(f"{path} is held by process {holder}, which still runs; stop it.", _EX_TEMPFAIL)
            time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(descriptor, True)


def _give_up(sentence: str, code: int) -> NoReturn:
    sys.stderr.write(f"deedbox: {sentence}\n")
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
