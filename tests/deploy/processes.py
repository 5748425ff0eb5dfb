"""The process types of ``deedbox up``, in the words of the ``Procfile``: what every artefact must start."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from deedbox.ops.supervise.processes import processes_per_lane, table
from deedbox.shared.settings import Settings

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"

Started = dict[str, float]
"""A command, and the seconds from its SIGTERM to its SIGKILL."""

_COMMANDS: Final = {
    "-m deedbox.ingress": "python -m deedbox.ingress",
    "-m deedbox.ops.web": "deedbox ops",
}


def wanted() -> Started:
    """Return what ``up`` starts on a machine whose Redis is elsewhere, and how long it lets each process end."""
    settings = Settings.load({"DEEDBOX_REDIS_URL": "redis://elsewhere/0"})
    programs = table(settings, processes_per_lane(["default", "documents"]), {})
    found: Started = {}
    for program in programs:
        words = shlex.join(program.command[1:])
        several = f" --processes {program.numprocs}" if program.numprocs > 1 else ""
        command = _COMMANDS.get(words, words.replace("-m deedbox.workers", "deedbox")) + several
        found[command] = program.stop_wait_s
    return found


def same(command: str) -> str:
    """Return a command without the words that change nothing."""
    return command.removesuffix(" --processes 1")
