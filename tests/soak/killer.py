"""Carries out what the plan says, and keeps a journal of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from tests.soak.plan import Kill


class Target(Protocol):
    """What can be hit."""

    folder: Path
    """Where the evidence goes."""

    def kill(self, kill: Kill) -> int | None:
        """Do it; returns the pid of what was hit, None if it is not there right now."""


class Killer:
    """Carries out the kills from a thread of its own and keeps a journal of them."""

    def __init__(self, stage: Target, kills: Iterable[Kill], stop: threading.Event) -> None:
        self._stage, self._kills, self._stop = stage, list(kills), stop
        self._journal = stage.folder / "kills.jsonl"
        self._thread = threading.Thread(target=self._run, name="killer")
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin: times count from now."""
        self._journal.touch()
        self._thread.start()

    def join(self) -> None:
        """Wait for the last kill. Raises what went wrong in the thread."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        started = time.monotonic()
        try:
            for kill in self._kills:
                if self._stop.wait(max(0.0, started + kill.at_s - time.monotonic())):
                    return
                at = time.time()  # before: what the kill causes must not look older than its cause
                pid = self._stage.kill(kill)
                if pid is not None:
                    row = {"at": at, "target": kill.target, "signal": kill.signal, "pid": pid}
                    with self._journal.open("a", encoding="utf-8") as journal:
                        journal.write(json.dumps(row) + "\n")
        except BaseException as error:  # noqa: BLE001 - raised by join
            self._error = error
