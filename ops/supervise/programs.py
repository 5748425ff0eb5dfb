"""The programs of ``deedbox up`` and the supervisor library's configuration that runs them."""

from __future__ import annotations

import os
import re
import resource
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.runtime import child

RESTART_MAX_S: Final = 10
"""Longest pause before a program that ends at once is tried again. There is no giving up: what it waits for
(a broker, a disk) may be back at any time."""

STARTED_AFTER_S: Final = 5
"""A program that ends sooner is restarted with a pause; importing an application alone can take seconds."""

_SOCKET_PATH_MAX_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class Program:
    """One line of the process table."""

    name: str
    command: tuple[str, ...]
    numprocs: int = 1
    stop_wait_s: int = 10
    """From SIGTERM to SIGKILL (which reaches the program's own children too)."""
    priority: int = 100
    """Started in ascending, stopped in descending order."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """On top of this process's environment."""
    lock: Path | None = None
    """File that the program keeps locked while it lives; a second one waits for it."""


def configuration(programs: Sequence[Program], run_dir: Path) -> str:
    """Return the text of ``supervisord.conf``. It holds no secret. Raises SettingsError."""
    # %(here)s is the directory of the file: a path written out could hold what the format takes for a comment.
    lines = [
        "; Written at each start; changes here are lost. `supervisorctl -c THIS_FILE status` shows the processes.",
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        "identifier=deedbox",
        "nocleanup=true",
        "logfile=%(here)s/supervisord.log",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        "pidfile=%(here)s/supervisord.pid",
        "childlogdir=%(here)s",
        f"minfds={_descriptors()}",
        "minprocs=1",
    ]
    if os.geteuid() == 0:
        lines.append("user=root")  # stay root on purpose: without it the library complains
    if len(os.fsencode(run_dir / "supervisor.sock")) < _SOCKET_PATH_MAX_BYTES:
        lines += _control_socket()
    for priority, stage in groupby(
        sorted(programs, key=lambda program: program.priority), lambda p: p.priority
    ):
        members = list(stage)
        lines += [line for program in members for line in _program(program)]
        name = members[0].name if len(members) == 1 else f"stage-{priority}"
        joined = ",".join(program.name for program in members)
        lines += ["", f"[group:{name}]", f"programs={joined}", f"priority={priority}"]
    return "\n".join(lines) + "\n"


def _control_socket() -> list[str]:
    address = "%(here)s/supervisor.sock"
    return [
        *("", "[unix_http_server]", f"file={address}", "chmod=0700"),
        *("", "[supervisorctl]", f"serverurl=unix://{address}"),
        *("", "[rpcinterface:supervisor]"),
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]


def _program(program: Program) -> list[str]:
    command = child.command_line(program.command, parent=os.getpid(), lock=program.lock)
    name = "%(program_name)s" + ("-%(process_num)d" if program.numprocs > 1 else "")
    return [
        "",
        f"[program:{program.name}]",
        f"command={_escaped(command)}",
        f"process_name={name}",
        f"numprocs={program.numprocs}",
        f"priority={program.priority}",
        "autorestart=true",
        f"startsecs={STARTED_AFTER_S}",
        f"startretries={RESTART_MAX_S + 1}",
        "stopsignal=TERM",
        f"stopwaitsecs={program.stop_wait_s}",
        # SIGTERM goes to the program alone: gunicorn ends its own workers. SIGKILL goes to all of them: a
        # worker that survives its master would keep the port.
        "stopasgroup=false",
        "killasgroup=true",
        "stdout_logfile=NONE",
        "stdout_logfile_maxbytes=5MB",
        "stdout_logfile_backups=1",
        "stderr_logfile=NONE",
    ]


def _escaped(command: Sequence[str]) -> str:
    """Write a command so that the format's comments (after a space) and expansions leave it alone."""
    if any("\n" in argument or "\r" in argument for argument in command):
        raise SettingsError("The programs cannot be run: a command or path holds a line break; rename it.")
    # A ; or # after a space is always inside '...' here; closing and opening the quote parts it from the space.
    return re.sub(r"(?<=\s)([;#])", r"''\1", shlex.join(command)).replace("%", "%%")


def _descriptors() -> int:
    """Bound of what the library closes in a child, and demands of the system: never more than allowed."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else min(1024, soft)
