"""The process that imports everything once; a program of ``deedbox up`` is a fork of it, and shares that memory.

``python -m deedbox.ops.supervise.fork_server MODULE... ROOM``, with one end of a socket as standard input. Its parent, the
supervision, is the only one that talks to it, and sends the descriptors of a pipe, and of standard output and error, for
each program. It gets one line as the answer. The program is read from the pipe by the fork, never here: it has secrets that the next
program must not inherit.

Linux only. A fork is handed on to the supervision (its subreaper), which gets its exit status as that of any child.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from deedbox.shared.runtime.child import end_with

READY: Final = "ready"
DESCRIPTORS_MAX: Final = 3

ROOM: Final = " " * 256
"""The last argument: where a fork writes its own command over that of the fork server."""


def main(modules: Sequence[str]) -> None:
    """Import the modules and serve. In a fork: run its program, and end with it."""
    for module in modules:
        # Some are optional. What a program cannot do without, it says itself.
        with suppress(ModuleNotFoundError):
            importlib.import_module(module)
    gc.freeze()
    if threading.active_count() > 1:
        # A thread is not there in a fork, but the locks that it held are.
        raise SystemExit(f"a module started a thread: {threading.enumerate()}")
    with socket.socket(fileno=os.dup(0)) as supervision:
        command = _serve(supervision)
    if command:
        _run(command)


def _serve(supervision: socket.socket) -> list[str]:
    """Fork until the supervision has gone; returns nothing then. Returns the command in each fork."""
    parent = os.getppid()
    _answer(supervision, READY)
    while True:
        _data, descriptors, _flags, _address = socket.recv_fds(supervision, 1, DESCRIPTORS_MAX)
        if not descriptors:
            return []
        ours, theirs = os.pipe()
        between = os.fork()
        if not between:
            os.close(ours)
            _fork_program(theirs)
            return _become(parent, descriptors)
        os.close(theirs)
        # Once this one has ended the program is the supervision's child: only then it may hear of it.
        os.waitpid(between, 0)
        _answer(supervision, os.read(ours, 256).decode())
        for descriptor in (ours, *descriptors):
            os.close(descriptor)


def _answer(supervision: socket.socket, line: str) -> None:
    supervision.sendall(f"{line}\n".encode())


def _fork_program(told: int) -> None:
    """Fork the program, and return in it once the supervision is its parent. This process, between the two, ends here."""
    between = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        os.write(told, str(error).encode())
        os._exit(1)
    if pid:
        os.setpgid(pid, pid)  # before the supervision may signal the group
        os.write(told, str(pid).encode())
        os._exit(0)
    os.close(told)
    while os.getppid() == between:
        time.sleep(0.0005)


def _become(parent: int, descriptors: Sequence[int]) -> list[str]:
    """Take over what a program of its own would have: parent, output, environment, name. Returns its command."""
    end_with(parent)
    source, *outputs = descriptors
    with open(source, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        text = pipe.read()
    if not text:  # the supervision did not hear of this fork, and does without
        raise SystemExit(1)
    program = json.loads(text)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), *zip(outputs, (1, 2), strict=False)):
        os.dup2(old, new)
    for descriptor in (nothing, *outputs):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(program["environment"])
    command: list[str] = program["command"]
    show_as(command)
    return command


def _run(command: Sequence[str]) -> NoReturn:
    """Run ``PYTHON -m MODULE ARGUMENT...`` in this process, by the ``program`` of the module.

    The module itself is not run once more: to read and to execute it would write to 3 MB of the memory that forks share.
    """
    _python, _m, name, *arguments = command
    module = sys.modules.get(f"{name}.__main__") or importlib.import_module(name)
    sys.modules["__main__"] = module  # for ``multiprocessing``, which imports it in a process that it spawns
    sys.argv = [str(module.__file__), *arguments]
    sys.exit(module.program())


def show_as(command: Sequence[str]) -> None:
    """Let ``ps`` and others show this command as that of this process, as far as there is room for it."""
    fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    text = b"".join(word.encode(errors="surrogateescape") + b"\0" for word in command)
    if begin and len(text) <= end - begin:
        ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    main(sys.argv[1:-1])
