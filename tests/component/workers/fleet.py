"""Real worker processes, as the Procfile runs them, with an action that a test can hold up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from tests.component.workers.server import until

ROOT = Path(__file__).parents[3]

_MODULE = """
import logging, os, time
from pathlib import Path
from deedbox.workers.actions import action

FOLDER = Path(os.environ["FLEET_FOLDER"])

def note(what, event, context):
    line = f"{what} {event.signature_request_id} {event.type} {context.idempotency_key} {os.getpid()}\\n"
    with (FOLDER / "journal").open("a") as journal:
        journal.write(line)

@action("*", name="act")
def act(event, context):
    logging.getLogger(__name__).info("seen")
    note("began", event, context)
    while (FOLDER / f"hold-{event.signature_request_id}").exists():
        time.sleep(0.02)
    note("ended", event, context)
"""


class Note(NamedTuple):
    """One line of the action's journal."""

    what: str
    request_id: str
    event_type: str
    idempotency_key: str
    process: str

    @property
    def pid(self) -> int:
        """Process that called the action."""
        return int(self.process)


class Addressed(Protocol):
    """A Redis, or several behind one address."""

    @property
    def url(self) -> str:
        """DEEDBOX_REDIS_URL."""


class Fleet:
    """Worker processes on one Redis; every one is ended by its pid."""

    def __init__(self, server: Addressed, folder: Path, *, module: str = _MODULE, **environment: str) -> None:
        """Prepare. ``module``: the actions; ``environment``: further variables of every process."""
        self._folder = folder
        self._log = (folder / "log").open("ab")
        (folder / "fleet_actions.py").write_text(module, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
        self._environment = {
            **kept,
            "DEEDBOX_REDIS_URL": server.url,
            "DEEDBOX_ACTIONS": "fleet_actions",
            "DEEDBOX_BUILTINS": "none",
            "DEEDBOX_API_KEYS": "key",
            "FLEET_FOLDER": str(folder),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            **environment,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``python -m deedbox.workers`` with these words."""
        process = subprocess.Popen(
            [sys.executable, "-m", "deedbox.workers", *words], env=self._environment, cwd=self._folder,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        """Return the process that was started with these words."""
        return next(process for process in self._processes if list(process.args)[3:] == list(words))  # type: ignore[arg-type]

    def worker(self, lane: str = "default") -> subprocess.Popen[bytes]:
        """Start one worker of a lane."""
        return self.start("worker", "--lane", lane)

    def hold(self, request_id: str) -> None:
        """Let calls for this request take until ``let_go``."""
        (self._folder / f"hold-{request_id}").touch()

    def let_go(self, request_id: str) -> None:
        """Let calls for this request end."""
        (self._folder / f"hold-{request_id}").unlink()

    def notes(self, what: str, request_id: str | None = None) -> list[Note]:
        """Return the journal's lines of one kind, in order."""
        journal = self._folder / "journal"
        lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
        notes = [Note(*line.split()) for line in lines]
        return [note for note in notes if note.what == what and request_id in {None, note.request_id}]

    def began(self, request_id: str, times: int = 1) -> Note:
        """Wait until a request's call began (for the nth time)."""
        until(
            lambda: len(self.notes("began", request_id)) >= times,
            f"the call for {request_id} began\n{self.log()}",
        )
        return self.notes("began", request_id)[times - 1]

    def ended(self, request_id: str, times: int = 1) -> list[Note]:
        """Wait until a request's calls ended."""
        until(
            lambda: len(self.notes("ended", request_id)) >= times,
            f"the call for {request_id} ended\n{self.log()}",
        )
        return self.notes("ended", request_id)

    def log(self, last_chars: int = 3000) -> str:
        """Return what the processes logged last."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-last_chars:]

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Lend the fleet; at the end of the block all processes end."""
        try:
            yield self
        finally:
            self.close()

    def close(self) -> None:
        """End whatever still runs."""
        for process in self._processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
            process.wait()
        self._log.close()
