"""The shipped compose file."""

from __future__ import annotations

import shlex
from typing import Any, Final

import yaml

from tests.deploy.processes import DEPLOY, Started

FOLDER: Final = DEPLOY / "compose"
FILE: Final = FOLDER / "compose.yaml"


def read() -> dict[str, Any]:
    """Return the file."""
    return dict(yaml.safe_load(FILE.read_text("utf-8")))


def ours() -> dict[str, dict[str, Any]]:
    """Return the services that run the image."""
    return {name: each for name, each in read()["services"].items() if each["image"] == "deedbox"}


def started() -> Started:
    """Return what the services run."""
    return {
        shlex.join(service["command"]): float(service["stop_grace_period"].removesuffix("s"))
        for service in ours().values()
    }
