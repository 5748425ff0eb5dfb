"""Writes the files of a new project, and never over one that is there."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError

ENV: Final = ".env"
ACTIONS: Final = "callbacks.py"
TEST: Final = "test_callbacks.py"
COMPOSE: Final = "compose.yaml"

_TEMPLATES: Final = {ENV: "env", ACTIONS: "callbacks", TEST: "test_callbacks", COMPOSE: "compose"}
_COMPOSE_NAMES: Final = (COMPOSE, "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def begin(folder: Path) -> list[str]:
    """Write what is missing; returns what was done and what to do next. Raises SettingsError if a file cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lines = [_write(folder, name) for name in _TEMPLATES]
    except OSError as error:
        raise SettingsError(f"{error.filename or folder} cannot be written ({error.strerror}).") from None
    steps = (f"  {number}. {step}" for number, step in enumerate(_steps(folder), 1))
    return [*lines, "", "Next:", *steps]


def template(name: str) -> str:
    """Return the text of a file as it is written."""
    return (files("deedbox.ops.develop") / "template" / f"{_TEMPLATES[name]}.txt").read_text("utf-8")


def _is_ours(folder: Path, name: str) -> bool:
    path = folder / name
    return path.is_file() and path.read_bytes() == template(name).encode()


def _write(folder: Path, name: str) -> str:
    path = folder / name
    there = next((each for each in _COMPOSE_NAMES if (folder / each).exists()), "") if name == COMPOSE else ""
    if there and there != COMPOSE:
        return f"left out  {path}: there is {there}"
    if name == TEST and not path.exists() and not _is_ours(folder, ACTIONS):
        return f"left out  {path}: it tests the actions of another {ACTIONS}"
    # "x": a file that appears in between stays, too. The key goes into .env: only its owner reads it.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name == ENV else 0o666)
    except FileExistsError:
        return f"kept      {path}"
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(template(name))
    return f"written   {path}"


def _steps(folder: Path) -> list[str]:
    ignored = folder / ".gitignore"
    hidden = ignored.is_file() and ENV in ignored.read_text("utf-8", "replace").split()
    secret = "" if hidden else f", and keep {ENV} out of version control"
    named = "DEEDBOX_API_KEYS"
    if not (_is_ours(folder, ENV) and _is_ours(folder, ACTIONS)):
        named += ", and DEEDBOX_ACTIONS to the module of your actions,"
    there = "" if folder == Path() else f"in {folder}, "
    return [
        f"Set {named} in {folder / ENV}{secret}.",
        f"Test your actions without Redis: {there}`pip install pytest`, then `pytest`.",
        f"Run everything on this machine: {there}`deedbox up`, or `docker compose up`.",
        f"Send one callback: {there}`deedbox send signature_request_signed --to http://127.0.0.1:8000/callbacks`.",
    ]
