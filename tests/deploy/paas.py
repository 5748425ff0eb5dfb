"""The shipped files for platforms that run processes or containers."""

from __future__ import annotations

import json
import tomllib
from typing import Any, Final

import yaml

from tests.deploy.processes import DEPLOY, Started

FOLDER: Final = DEPLOY / "paas"
HEROKU: Final = FOLDER / "heroku"
FLY: Final[dict[str, Any]] = tomllib.loads((FOLDER / "fly.toml").read_text("utf-8"))
RAILWAY: Final[dict[str, Any]] = json.loads((FOLDER / "railway.json").read_text("utf-8"))
RENDER: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "render.yaml").read_text("utf-8"))
APP: Final[dict[str, Any]] = json.loads((HEROKU / "app.json").read_text("utf-8"))


def fly() -> Started:
    """Return what the process groups run."""
    return {command: float(FLY["kill_timeout"]) for command in FLY["processes"].values()}


def services() -> dict[str, dict[str, Any]]:
    """Return the services of Render that run the image, by name."""
    return {each["name"]: each for each in RENDER["services"] if each["type"] != "keyvalue"}


def render() -> Started:
    """Return what the services run."""
    return {each["dockerCommand"]: float(each["maxShutdownDelaySeconds"]) for each in services().values()}
