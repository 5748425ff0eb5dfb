"""What ``deedbox reconcile``, ``deedbox callback-url`` and ``deedbox call`` hand to the worker process that does the work.

The command line declares the options; the process reads them as one JSON value.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """What every such command is told."""

    source: str = ""
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False
    recorded: bool = False
    """Whether the process that asks for this records it in the audit."""

    def dump(self) -> str:
        """Return the options as one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """Inverse of ``dump``. Raises ValueError, TypeError for anything else."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class ReconcileOptions(CommandOptions):
    """``deedbox reconcile``."""

    since: str = "24h"
    reach: str = "30d"


@dataclass(frozen=True, slots=True)
class CallbackUrlOptions(CommandOptions):
    """``deedbox callback-url show`` and ``set``."""

    put: bool = False
    """Set the URLs; else show them."""
    url: str = ""
    app: str = ""
    """This API app only."""


@dataclass(frozen=True, slots=True)
class CallOptions(CommandOptions):
    """``deedbox call``."""

    identifier: str = ""
    """A fingerprint, or an ordering key."""
    action: str = ""
    pdb: bool = False
    commit: bool = False
