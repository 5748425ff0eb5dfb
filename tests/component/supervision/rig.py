"""Runs the supervision in a process of its own, because it owns signals, and watches it from outside.

As a program: ``python -m tests.component.supervision.rig DATA_DIR JSON``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from deedbox.ops.supervise.fork_client import ForkServer
from deedbox.ops.supervise.programs import Exit
from deedbox.ops.supervise.speaker import Speaker
from deedbox.ops.supervise.supervisor import Program, run
from deedbox.shared.redis import embedded
from deedbox.shared.runtime.data_dir import lock_data_dir
from tests.support.terminal import Terminal
from tests.support.waiting import until

__all__ = ["until"]

ROOT = Path(__file__).parents[3]
JOURNALIST = Path(__file__).with_name("journalist.py")
FORKED = (f"{__package__}.journalist",)
"""What a fork runs: the journalist as a module."""
IMPORTED = (
    "deedbox.shared.settings",
    "deedbox.shared.redis.connections",
    "a_library_that_is_not_here",
    *FORKED,
)
"""What the fork server is told to import: a library that is not installed keeps no program from being forked."""
SERVERS = ("redis-server", "valkey-server")


class Rig(Terminal):
    """One supervised set of programs in ``data_dir``; the first word of a program is its name."""

    def __init__(
        self,
        data_dir: Path,
        *programs: dict[str, Any],
        output: int | IO[bytes] | None = None,
        prefix: tuple[str, ...] = (),
        **extra: Any,
    ) -> None:
        self.data_dir, self.journal = data_dir, data_dir.parent / "journal"
        journalist = ("-m", *FORKED) if extra.get("forked") else (str(JOURNALIST),)
        spec = {"programs": [self._spelled(row, journalist) for row in programs], **extra}
        command = [*prefix, sys.executable, "-m", __name__, str(data_dir), json.dumps(spec)]
        # A session of its own, so that a signal to its process group is Ctrl-C in its terminal.
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def _spelled(self, row: dict[str, Any], journalist: tuple[str, ...]) -> dict[str, Any]:
        words = [sys.executable, *journalist, str(self.journal), row["name"], *row.pop("words", [])]
        return {"command": words, **row}

    def notes(self) -> list[str]:
        """Return the journal without the pids."""
        return [line.rsplit(" ", 1)[0] for line in self._lines()]

    def pids(self, name: str) -> list[int]:
        """Return the pids under which a program started, in order."""
        return [int(line.split()[-1]) for line in self._lines() if line.startswith(f"{name} started ")]

    def _lines(self) -> list[str]:
        return self.journal.read_text(encoding="utf-8").splitlines() if self.journal.exists() else []

    def says(self, *lines: bytes) -> None:
        """Read its output until each of these lines has come, in any order. It must have been started with a pipe."""
        assert self.process.stdout is not None
        wanted = set(lines)
        for line in self.process.stdout:
            wanted.discard(line.rstrip())
            if not wanted:
                return
        raise AssertionError(f"never said: {sorted(wanted)}")

    def ended(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.terminate()
        status = self.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def started(self, *names: str) -> None:
        """Wait until all these programs noted their start."""
        until(lambda: all(self.pids(name) for name in names), f"{names} started")

    def redis_pid(self) -> int:
        """Return the pid of the running server."""
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                # Not the one that was only asked for its version.
                if process.name().startswith(SERVERS) and "--version" not in process.cmdline():
                    return process.pid
        return 0

    def url(self) -> str:
        """Return the address that other commands use, once the server answers."""
        self.started_redis()
        return (self.data_dir / "run" / "redis.url").read_text(encoding="utf-8").strip()

    def started_redis(self) -> int:
        """Wait for the server; return its pid."""
        return int(until(self.redis_pid, "the server runs"))


def main(data_dir: Path, spec: dict[str, Any]) -> int:
    """Run what the specification says."""
    programs = [Program(**{**row, "command": tuple(row["command"])}) for row in spec["programs"]]

    speaker = Speaker()

    def tell(end: Exit) -> None:
        speaker.say(f"exit {end}")

    def fail() -> None:
        raise RuntimeError("on_started failed")

    with lock_data_dir(data_dir), ExitStack() as stack:
        forks = stack.enter_context(ForkServer(os.environ, IMPORTED)) if spec.get("forked") else None
        if spec.get("redis"):
            url = embedded.prepare(data_dir)
            lock = embedded.server_lock(data_dir)
            programs.append(Program("redis", embedded.server_command(data_dir), priority=10, lock=lock))
            for index, program in enumerate(programs):
                if "REDIS" in program.command:
                    command = tuple(url if word == "REDIS" else word for word in program.command)
                    programs[index] = Program(program.name, command, priority=program.priority)
        started = fail if spec.get("fail") else lambda: speaker.say("all started")
        try:
            logs = data_dir / "run" if spec.get("quiet") else None
            return run(programs, started, on_exit=tell, logs=logs, fork_server=forks)
        finally:
            speaker.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
