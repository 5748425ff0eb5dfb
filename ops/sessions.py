"""Sessions, one-time sign-in links and plans: small private files in the data directory, each named by a hash.

They are files and not keys of Redis for two reasons. Who can write to Redis must not become an operator; and the page that
says that Redis does not answer must open.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from deedbox.shared.runtime.data_dir import make_private, writable, write_private
from deedbox.shared.settings import Settings

SESSION_S: Final = 8 * 3600
"""A working day; after it a person signs in again."""

IDLE_S: Final = 3600
"""A session ends when it was not used for so long. A page that is open asks every few seconds."""

LINK_S: Final = 600
"""How long a sign-in link may be used, once."""

PLAN_S: Final = 600
"""How long a plan of the API may be carried out, once."""

KEEP: Final = 1000
"""Sessions and links at a time; further ones end the oldest."""

_TOUCH_S: Final = 60.0
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class SecretFiles:
    """Files that are found by a secret of 256 random bits. The file's name is a hash: a listing opens nothing."""

    def __init__(self, folder: Path, life_s: float, clock: Callable[[], float] = time.time) -> None:
        """``life_s``: seconds after its last use until a file counts as gone."""
        self._folder, self._life_s, self._clock = folder, life_s, clock
        self._lock = threading.Lock()

    def create(self, content: Mapping[str, Any]) -> str:
        """Write a file and return its secret. Raises SettingsError if the data directory cannot be written."""
        secret = secrets.token_urlsafe(32)
        with writable(self._folder), self._lock:
            make_private(self._folder.parent, self._folder)
            self._tidy()
            self._write(self._path(secret), content)
        return secret

    def read(self, secret: str) -> dict[str, Any] | None:
        """Return the content, and count this as a use; None for what is unknown or over."""
        path = self._path(secret)
        with self._lock:
            return None if path is None else self._read(path)

    def replace(self, secret: str, content: Mapping[str, Any]) -> None:
        """Change the content, if the file is still there: what has ended does not come back."""
        path = self._path(secret)
        with suppress(OSError), self._lock:
            if path is not None and path.exists():
                self._write(path, content)

    def take(self, secret: str) -> dict[str, Any] | None:
        """Return the content and remove the file. Of two who take the same one, one gets it."""
        path = self._path(secret)
        if path is None:
            return None
        with self._lock:
            found = self._read(path)
            try:
                path.unlink()
            except OSError:
                return None
        return found

    def _path(self, secret: str) -> Path | None:
        if not _SECRET.fullmatch(secret):
            return None
        return self._folder / hashlib.sha256(secret.encode()).hexdigest()

    def _write(self, path: Path | None, content: Mapping[str, Any]) -> None:
        if path is not None:
            write_private(path, json.dumps(content))
            os.utime(path, (self._clock(), self._clock()))

    def _read(self, path: Path) -> dict[str, Any] | None:
        now = self._clock()
        try:
            used_at = path.stat().st_mtime
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if now >= used_at + self._life_s or not isinstance(found, dict):
            return None
        if now >= used_at + _TOUCH_S:
            with suppress(OSError):  # a disk that takes nothing more ends nobody's session
                os.utime(path, (now, now))
        return found

    def _tidy(self) -> None:
        """Remove what is over, and the oldest beyond ``KEEP``."""
        ages = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                ages.append((path.stat().st_mtime, path))
        kept = set(sorted(ages, reverse=True)[: KEEP - 1])
        over = self._clock() - self._life_s
        for used_at, path in ages:
            if used_at <= over or (used_at, path) not in kept:
                with suppress(OSError):
                    path.unlink()


def sessions(settings: Settings, clock: Callable[[], float] = time.time) -> SecretFiles:
    """Return the sessions of an installation."""
    return SecretFiles(settings.data_dir / "ops" / "sessions", IDLE_S, clock)


def links(settings: Settings, clock: Callable[[], float] = time.time) -> SecretFiles:
    """Return the sign-in links of an installation."""
    return SecretFiles(settings.data_dir / "ops" / "links", LINK_S, clock)


def plans(settings: Settings) -> SecretFiles:
    """Return the plans of writes that the API has shown and not yet carried out."""
    return SecretFiles(settings.data_dir / "ops" / "plans", PLAN_S)


def new_link(settings: Settings, ops_url: str) -> str:
    """Return a link that signs in one browser, once. ``ops_url`` ends in a slash. Raises SettingsError."""
    return f"{ops_url}sign-in?link={links(settings).create({})}"
