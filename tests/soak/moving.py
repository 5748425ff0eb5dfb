"""An action that a deploy moves to another lane now and then: a new setting, and then each worker is restarted in turn."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import psutil

from deedbox import Context, Event, action
from deedbox.workers.builtins import recorder
from tests.soak import hanging

NAME: Final = "move"
LANES: Final = ("default", hanging.NAME)
FOLDER_VARIABLE: Final = "SOAK_MOVES_FOLDER"
CALL_S: Final = 0.005
STOPS_WITHIN_S: Final = 15.0

BEGIN: Final = "begin"
END: Final = "end"


def lane_file(folder: Path) -> Path:
    """Return the file that names the lane, as a setting of the user's would."""
    return folder / "lane"


def record_file(folder: Path) -> Path:
    """Return the record of the calls."""
    return folder / "moves.jsonl"


def _here() -> Path:
    return Path(os.environ[FOLDER_VARIABLE])


if FOLDER_VARIABLE in os.environ:  # in a worker; the soak itself imports the names above

    @action("signature_request_*", name=NAME, lane=lane_file(_here()).read_text("utf-8"))
    def move(event: Event, context: Context) -> None:
        """Write down when the call begins and when it ends."""
        _note(event, context, BEGIN)
        time.sleep(CALL_S)
        _note(event, context, END)


def _note(event: Event, context: Context, edge: str) -> None:
    row = {**recorder.facts(event, context), "edge": edge, "pid": os.getpid()}
    descriptor = os.open(record_file(_here()), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps(row).encode() + b"\n")
    finally:
        os.close(descriptor)


class Deploys:
    """Moves the action."""

    def __init__(self, folder: Path) -> None:
        self._file = lane_file(folder)
        self._file.write_text(LANES[0], "utf-8")
        record_file(folder).touch()

    def deploy(self, workers: Callable[[str], Iterable[psutil.Process]]) -> None:
        """Name the other lane, and restart one worker after the other. ``workers``: those of a lane."""
        old = self._file.read_text("utf-8")
        new = LANES[1 - LANES.index(old)]
        draft = self._file.with_suffix(".draft")
        draft.write_text(new, "utf-8")
        draft.replace(self._file)
        for lane in (new, old):
            for worker in list(workers(lane)):
                worker.terminate()
                psutil.wait_procs([worker], timeout=STOPS_WITHIN_S)
