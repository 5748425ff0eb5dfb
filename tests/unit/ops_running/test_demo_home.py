"""The demo empties a directory: its own, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from deedbox.ops.demo import home
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings


def test_the_demo_lives_below_the_users_data_directory(tmp_path: Path) -> None:
    assert home.directory({}) == Path("var/demo")
    assert home.directory({"DEEDBOX_DATA_DIR": " "}) == Path("var/demo")
    assert home.directory({"DEEDBOX_DATA_DIR": str(tmp_path)}) == tmp_path / "demo"


def test_what_an_earlier_demo_left_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    for _ in range(2):
        with home.claimed(folder):
            assert not (folder / "documents").exists()
            (folder / "documents" / "default").mkdir(parents=True)
            (folder / "documents" / "default" / "old.pdf").write_bytes(b"x")


def test_files_that_no_demo_wrote_are_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "contract.pdf").write_bytes(b"mine")
    with pytest.raises(SettingsError, match="DEEDBOX_DATA_DIR"), home.claimed(folder):
        pass
    assert (folder / "contract.pdf").read_bytes() == b"mine"


def test_what_a_link_leads_to_is_never_removed(tmp_path: Path) -> None:
    folder, mine = tmp_path / "demo", tmp_path / "mine"
    mine.mkdir()
    (mine / "contract.pdf").write_bytes(b"mine")
    with home.claimed(folder):
        (folder / "link").symlink_to(mine)
    with home.claimed(folder):
        assert not (folder / "link").exists()
    assert (mine / "contract.pdf").exists()


def test_the_locks_of_a_killed_demo_stay_the_same_files(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with home.claimed(folder):
        (folder / "redis").mkdir()
        (folder / "redis" / "lock").touch()
        before = [(folder / part / "lock").stat().st_ino for part in ("run", "redis")]
    with home.claimed(folder):
        assert [(folder / part / "lock").stat().st_ino for part in ("run", "redis")] == before


def test_two_demos_never_share_a_directory(tmp_path: Path) -> None:
    with (
        home.claimed(tmp_path / "demo"),
        pytest.raises(SettingsError, match="in use"),
        home.claimed(tmp_path / "demo"),
    ):
        pass


def test_no_setting_of_the_user_reaches_the_demo(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin", "PORT": "80", "DEEDBOX_REDIS_URL": "redis://prod", "DEEDBOX_SOURCES": "{}",
        "DEEDBOX_BUILTINS": "none", "DEEDBOX_HOLD_S": "soon", "LISTEN_FDS": "1",
    }  # fmt: skip
    api_port = home.isolate(environ, tmp_path, "a key")
    settings = Settings.load(environ)
    assert environ["PATH"] == "/bin"
    assert "LISTEN_FDS" not in environ
    assert (settings.redis_url, settings.sources_text, settings.builtins) == (None, None, ("all",))
    assert settings.api_url == f"http://127.0.0.1:{api_port}/v3"
    assert settings.port not in {80, 8000, api_port}
    assert settings.sources()["default"].api_keys == ("a key",)
