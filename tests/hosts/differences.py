"""In what hosts differ from each other: the version of Deedbox that they run, and their clock."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.component.workers.server import missing

ROOT: Final = Path(__file__).parents[2]
AHEAD_VARIABLE: Final = "WRONG_CLOCK_S"
_CODE: Final = ("deedbox", "ingress", "workers", "ops", "shared")


@dataclass
class HostKind:
    """What is special about a host; its processes take it up when they start."""

    code: Path = ROOT
    """Where the version is that it runs."""
    clock_ahead_s: int = 0
    shim: Path | None = None
    """The library that shows a wrong clock."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables of its processes."""
        found = {"PYTHONPATH": f"{self.code}{os.pathsep}{ROOT}"}
        if self.clock_ahead_s:
            found |= {"LD_PRELOAD": str(self.shim), AHEAD_VARIABLE: str(self.clock_ahead_s)}
        return found


def older_version(folder: Path) -> Path:
    """Return a checkout of the last release, or of the commit before this one; where there is no history, this version."""
    tag = _git("describe", "--tags", "--abbrev=0")
    commit = tag or _git("rev-parse", "--verify", "HEAD^")
    if not commit:
        return ROOT
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, *_CODE], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def wrong_clock(folder: Path) -> Path:
    """Build the library that shows a wrong clock. libfaketime is none: with it `time.sleep` fails."""
    if shutil.which("cc") is None:
        missing("No C compiler was found; install Debian's packages gcc and libc6-dev.")
    library = folder / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library
