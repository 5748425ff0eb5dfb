"""Where a demo lives: its own data directory, emptied first, and an environment without the user's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded
from deedbox.shared.runtime.data_dir import lock_data_dir, make_private, writable

HOLD_S: Final = 3
"""Shorter than the default, which is for what the internet can do: the demo's own delays have a mean below 1 s."""

GRACE_S: Final = 2
_PLENTY_PER_MINUTE: Final = 100_000
"""The vendor's budgets would stretch the demo over minutes; the simulated API has its own rate limit."""

_MARKER: Final = "THIS-DIRECTORY-IS-EMPTIED.txt"
_KEPT: Final = frozenset({_MARKER, "run/lock", "redis/lock"})
"""The locks stay: the processes of a demo that was killed may still hold them for a moment."""

_LISTENERS: Final = frozenset({"PORT", "OPS_PORT", "GUNICORN_FD", "LISTEN_FDS", "LISTEN_PID"})


def directory(environ: Mapping[str, str]) -> Path:
    """Return the demo's data directory: ``demo`` below the user's."""
    return Path(environ.get("DEEDBOX_DATA_DIR", "").strip() or "var") / "demo"


@contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's lock, and begin with an empty directory.

    Raises SettingsError if it is in use, not writable, or holds anything that no demo put there.
    """
    _demand_ours(data_dir)
    with lock_data_dir(data_dir):
        with writable(data_dir):
            _empty(data_dir)
        yield


def _demand_ours(data_dir: Path) -> None:
    with writable(data_dir):
        if not data_dir.exists() or not any(data_dir.iterdir()) or (data_dir / _MARKER).exists():
            make_private(data_dir)
            text = "`deedbox demo` keeps its data here and empties this directory at each start.\n"
            (data_dir / _MARKER).write_text(text, encoding="utf-8")
            return
    raise SettingsError(
        f"DEEDBOX_DATA_DIR: {data_dir} holds files that no demo wrote, and the demo empties that directory; "
        "move them away or set DEEDBOX_DATA_DIR to another directory."
    )


def _empty(data_dir: Path) -> None:
    for path in sorted(data_dir.rglob("*"), reverse=True):  # what is inside a directory comes before it
        if path.relative_to(data_dir).as_posix() in _KEPT:
            continue
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            with suppress(OSError):  # it holds something that is kept
                path.rmdir()


def isolate(environ: MutableMapping[str, str], data_dir: Path, api_key: str) -> int:
    """Replace every setting of the user by the demo's own; returns the port that the files API must take."""
    for name in [name for name in environ if name.startswith("DEEDBOX_") or name in _LISTENERS]:
        del environ[name]
    api_port = embedded.free_port()
    environ.update({
        "PORT": str(embedded.free_port()),
        "OPS_PORT": str(embedded.free_port()),
        "DEEDBOX_API_KEYS": api_key,
        "DEEDBOX_API_URL": f"http://127.0.0.1:{api_port}/v3",
        "DEEDBOX_DATA_DIR": str(data_dir),
        "DEEDBOX_HOLD_S": str(HOLD_S),
        "DEEDBOX_DOWNLOADABLE_GRACE_S": str(GRACE_S),
        "DEEDBOX_FILES_PER_MINUTE": str(_PLENTY_PER_MINUTE),
        "DEEDBOX_TEST_FILES_PER_MINUTE": str(_PLENTY_PER_MINUTE),
        "DEEDBOX_API_PER_MINUTE": str(_PLENTY_PER_MINUTE),
        "DEEDBOX_ACTIONS": "deedbox.workers.builtins.recorder",
        "DEEDBOX_RECORD_PATH": str(record_path(data_dir).resolve()),
        "DEEDBOX_LOG_FORMAT": "json",
    })  # fmt: skip
    return api_port


def record_path(data_dir: Path) -> Path:
    """Return the file of the recording action."""
    return data_dir / "record.jsonl"
