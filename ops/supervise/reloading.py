"""``up --reload``: notices that a Python file below the current directory changed, and has the workers started again.

The new code is imported in another process first: what does not import leaves the workers as they are, with one sentence.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError

POLL_S: Final = 0.5
FILES_MAX: Final = 5_000
"""Files that are watched at most: each look reads the times of all of them."""

_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "var"})

_Times = Mapping[str, tuple[int, int]]
"""Path -> time of its last change in ns, and size."""


def times_below(folder: Path) -> _Times:
    """Return the times of the Python files below a folder, without hidden folders and those of packages."""
    found: dict[str, tuple[int, int]] = {}
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in _LEFT_OUT and not each.startswith("."))
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            if len(found) == FILES_MAX:
                return found
            path = os.path.join(where, name)  # noqa: PTH118 - as os.walk has it, thousands of times
            try:
                state = os.stat(path)  # noqa: PTH116 - the same
            except OSError:  # removed in between
                continue
            found[path] = (state.st_mtime_ns, state.st_size)
    return found


class Reloader:
    """Watches from its own thread; the supervision asks ``due`` what to start again."""

    def __init__(
        self, folder: Path, check: Callable[[], object], say: Callable[[str], None], poll_s: float = POLL_S
    ) -> None:
        """``check`` imports the actions anew, in another process. Raises SettingsError if it fails."""
        self._folder, self._check, self._say, self._poll_s = folder, check, say, poll_s
        self._before: _Times = {}
        self._stop = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to watch: what changes from now on is noticed."""
        self._before = times_below(self._folder)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()

    def due(self) -> bool:
        """Return whether the workers are to be started again; says so once for each change."""
        due = self._due.is_set()
        self._due.clear()
        return due

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            now = times_below(self._folder)
            if now == self._before:
                continue
            # An editor, or a version control, writes several files: the last one counts.
            while not self._stop.wait(self._poll_s) and (later := times_below(self._folder)) != now:
                now = later
            self._reload(sorted(path for path, _ in set(self._before.items()) ^ set(now.items())))
            self._before = now

    def _reload(self, changed: list[str]) -> None:
        shown = ", ".join(dict.fromkeys(os.path.relpath(path, self._folder) for path in changed[:3]))
        try:
            self._check()
        except SettingsError as error:
            self._say(f"deedbox: {shown} changed and is not reloaded: {error}")
            return
        self._say(f"{shown} changed; the workers are started again.")
        self._due.set()
