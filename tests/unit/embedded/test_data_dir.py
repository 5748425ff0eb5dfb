"""The data directory is private, writable and of one owner."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded
from deedbox.shared.runtime.data_dir import lock_data_dir


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_taken_directory_is_refused_with_the_holder_and_the_setting(tmp_path: Path) -> None:
    with (
        lock_data_dir(tmp_path),
        pytest.raises(SettingsError) as refused,
        lock_data_dir(tmp_path),
    ):
        pass
    assert f"in use by process {os.getpid()};" in str(refused.value)
    assert str(refused.value).startswith("DEEDBOX_DATA_DIR")


def test_a_directory_is_free_again_after_its_holder(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        pass
    with lock_data_dir(tmp_path):
        pass


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path / "new"):
        embedded.prepare(tmp_path / "new")
    assert [_mode(tmp_path / "new" / name) for name in ("", "run", "redis")] == [0o700] * 3


def test_files_with_the_password_are_readable_for_their_owner_only(tmp_path: Path) -> None:
    embedded.prepare(tmp_path)
    embedded.prepare(tmp_path)  # a second start replaces them
    assert _mode(tmp_path / "redis" / "redis.conf") == 0o600
    assert _mode(tmp_path / "run" / "redis.url") == 0o600
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"redis.url"}


def test_each_start_has_a_password_of_its_own(tmp_path: Path) -> None:
    assert embedded.prepare(tmp_path).split("@")[0] != embedded.prepare(tmp_path).split("@")[0]


def _lock(directory: Path) -> None:
    with lock_data_dir(directory):
        pass


@pytest.mark.parametrize("use", [_lock, embedded.prepare])
def test_an_unwritable_directory_is_refused_with_the_setting_and_the_fix(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "var"
    expected = re.escape(
        f"DEEDBOX_DATA_DIR ({directory}) is not writable (Not a directory); make it writable"
    )
    with pytest.raises(SettingsError, match=expected):
        use(directory)
