"""What runs as action, job and task: nothing, but it knows when it began and which call was the last.

In the handler's own process, so that no subject pays for being watched: a counter, and one line in a file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

EVERY: Final = "BENCH_EVERY"
"""Set: write a line per call. Unset: only at the call number ``BENCH_EVENTS``."""

EVENTS: Final = "BENCH_EVENTS"
MARKS: Final = "BENCH_MARKS"

_calls = 0


def called(payload: Mapping[str, Any]) -> None:
    """Note a call; the first thing that a handler does."""
    at = time.time()
    global _calls  # noqa: PLW0603 - one handler per process; an object would cost what it is not to cost
    _calls += 1
    if EVERY in os.environ:
        _write(f"{payload['signature_request']['metadata']['n']} {at:.6f}\n")
    elif _calls == int(os.environ[EVENTS]):
        _write(f"{_calls} {at:.6f}\n")


def _write(line: str) -> None:
    with Path(os.environ[MARKS]).open("a", encoding="ascii") as marks:
        marks.write(line)


def settings(marks: Path, events: int, *, every: bool = False) -> dict[str, str]:
    """Return the environment of a handler's process."""
    marks.unlink(missing_ok=True)
    return {MARKS: str(marks), EVENTS: str(events)} | ({EVERY: "1"} if every else {})


def read(marks: Path) -> dict[int, float]:
    """Return unix seconds of the noted calls: by the callback's place, or by the number of the call."""
    if not marks.exists():
        return {}
    lines = marks.read_text(encoding="ascii").splitlines()
    return {int(number): float(at) for number, at in (line.split() for line in lines)}
