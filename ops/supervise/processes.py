"""The process table of ``deedbox up``, as data. The ``Procfile`` says the same for other process managers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO, Any, Final

from deedbox.ops.supervise import fork_client, secrets
from deedbox.ops.supervise.fork_client import Forked, ForkServer
from deedbox.ops.supervise.programs import Program
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded, keys
from deedbox.shared.settings import SETTINGS_SHOWN, Settings

IMPORT_TIMEOUT_S: Final = 60.0
"""For importing the modules of DEEDBOX_ACTIONS: heavy applications take seconds, none a minute."""

_LOOK_S: Final = 0.01

_SHOWN: Final = {SETTINGS_SHOWN: "yes"}

# Ascending start, descending stop: first nothing new comes in, then the workers finish, then Redis ends.
_STORE, _WORK, _RECEIVE = 10, 50, 90


def table(settings: Settings, lanes: Mapping[str, int], environ: Mapping[str, str]) -> list[Program]:
    """Return the programs of one machine: ``lanes`` maps a lane to its number of worker processes.

    Each gets from ``environ`` what it needs. Raises SettingsError if the embedded Redis is needed and no server is
    installed.
    """
    return [
        replace(each, environment=secrets.environment(environ, each.name, settings) | _SHOWN)
        for each in _table(settings, lanes)
    ]


def _table(settings: Settings, lanes: Mapping[str, int]) -> list[Program]:
    store = [] if settings.redis_url is not None else [_redis(settings)]
    return [
        *store,
        _python("bridge", "deedbox.workers", "bridge"),
        _python("sweeper", "deedbox.workers", "sweeper"),
        *(
            _python(
                f"worker-{lane}",
                "deedbox.workers",
                "worker",
                "--lane",
                lane,
                numprocs=numprocs,
                stop_wait_s=30,
            )
            for lane, numprocs in lanes.items()
        ),
        _python("ops", "deedbox.ops.web"),
        _python("web", "deedbox.ingress", priority=_RECEIVE, stop_wait_s=35),
    ]


def processes_per_lane(lanes: Iterable[str]) -> dict[str, int]:
    """Return how many processes ``up`` gives to each of these lanes and to the sequencer, which is always needed: one.

    It is enough for documents: the account's default budget is one in 4 s. More workers of a lane are started beside ``up``.
    """
    return dict.fromkeys([keys.SEQUENCER, *lanes], 1)


def learn_lanes(env: Mapping[str, str], forks: ForkServer | None = None) -> list[str]:
    """Ask the workers which lanes the registered actions name. Raises SettingsError with their sentence."""
    return [str(lane) for lane in described(env, forks)["lanes"]]


def described(env: Mapping[str, str], forks: ForkServer | None = None) -> dict[str, Any]:
    """Ask the workers for their ``lanes`` and ``actions``; the user's modules are imported in another process.

    Raises SettingsError with the sentence of that process.
    """
    command = (sys.executable, "-m", "deedbox.workers", "lanes", "--json")
    # Files, not pipes: what the modules print has room, and none of their own processes is waited for.
    with TemporaryFile() as output, TemporaryFile() as error:
        status = _status(fork_client.start(forks, command, env, (output.fileno(), error.fileno())))
        printed, complaint = _last_line(output), _last_line(error)
    if status != 0:
        raise SettingsError(
            complaint.removeprefix("deedbox: ") or f"`{' '.join(command)}` failed without a word."
        )
    try:
        # The last line only: the user's modules may print while they are imported.
        return dict(json.loads(printed))
    except ValueError:
        raise SettingsError(
            "The process that imports the modules of DEEDBOX_ACTIONS ended before it was through: a module there ends "
            "it (sys.exit); remove that from the module's top level."
        ) from None


def _redis(settings: Settings) -> Program:
    return Program(
        "redis",
        embedded.server_command(settings.data_dir),
        priority=_STORE,
        stop_wait_s=30,
        lock=embedded.server_lock(settings.data_dir),
        log=(settings.data_dir / "redis" / "redis.log").absolute(),
    )


def _python(
    name: str, module: str, *arguments: str, numprocs: int = 1, priority: int = _WORK, stop_wait_s: int = 10
) -> Program:
    command = (sys.executable, "-m", module, *arguments)
    return Program(name, command, numprocs=numprocs, priority=priority, stop_wait_s=stop_wait_s)


def _status(process: Forked | subprocess.Popen[bytes]) -> int:
    """Wait for the exit status. Raises SettingsError if that takes too long; the process then ends."""
    deadline = time.monotonic() + IMPORT_TIMEOUT_S
    try:
        while (status := process.poll()) is None:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"Importing the modules of DEEDBOX_ACTIONS took more than {IMPORT_TIMEOUT_S:g} s; "
                    "move slow code out of their top level."
                )
            time.sleep(_LOOK_S)
        return status
    finally:
        while process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(_LOOK_S)


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
