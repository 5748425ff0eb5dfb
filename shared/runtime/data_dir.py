"""The data directory: private to its owner, and of one ``deedbox up`` at a time.

Every OSError becomes one sentence that names DEEDBOX_DATA_DIR.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deedbox.shared.core.errors import SettingsError


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Be the only ``up`` of a data directory, which is created (0700) if missing.

    Raises SettingsError if it is taken or not writable.
    """
    with writable(data_dir):
        make_private(data_dir, data_dir / "run")
        descriptor = os.open(data_dir / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise SettingsError(
                f"DEEDBOX_DATA_DIR ({data_dir}) is in use by process {holder}; stop that process "
                "or set DEEDBOX_DATA_DIR to another directory."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_locked(data_dir: Path) -> bool:
    """Return whether a ``deedbox up`` has this data directory. Changes nothing."""
    try:
        descriptor = os.open(data_dir / "run" / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def make_private(*directories: Path) -> None:
    """Create directories (0700) where they are missing; those that exist stay as they are."""
    for directory in directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader never meets half of it; readable for its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def writable(data_dir: Path) -> Iterator[None]:
    """Turn an OSError of the block into a SettingsError about this data directory."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"DEEDBOX_DATA_DIR ({data_dir}) is not writable ({error.strerror}); make it writable for this user "
            "or set DEEDBOX_DATA_DIR to a directory that is."
        ) from None


def flush_names(folder: Path) -> None:
    """Make the names in a folder durable: a new one must survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
