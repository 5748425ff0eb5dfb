"""How other commands find the server of a data directory."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded
from deedbox.shared.settings import Settings

NOTHING = r"Nothing is running in DEEDBOX_DATA_DIR \(.*\); start `deedbox up` or set DEEDBOX_REDIS_URL\."


def _settings(data_dir: Path, **more: str) -> Settings:
    return Settings.load({"DEEDBOX_DATA_DIR": str(data_dir), **more})


def test_a_configured_url_needs_no_data_directory(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "none", DEEDBOX_REDIS_URL="redis://elsewhere:6379/1")
    assert embedded.attach_url(settings) == "redis://elsewhere:6379/1"


def test_a_running_server_is_found(tmp_path: Path) -> None:
    url = embedded.prepare(tmp_path)
    with socket.socket() as server:
        server.bind(("127.0.0.1", urlsplit(url).port or 0))
        server.listen()
        assert embedded.attach_url(_settings(tmp_path)) == url


def test_without_an_address_nothing_is_running(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=NOTHING):
        embedded.attach_url(_settings(tmp_path))


def test_an_address_where_nothing_answers_is_nothing_running(tmp_path: Path) -> None:
    embedded.prepare(tmp_path)
    with pytest.raises(SettingsError, match=NOTHING):
        embedded.attach_url(_settings(tmp_path), patience_s=0.15)


def test_a_removed_address_is_nothing_running(tmp_path: Path) -> None:
    embedded.prepare(tmp_path)
    embedded.remove_address(tmp_path)
    embedded.remove_address(tmp_path)
    with pytest.raises(SettingsError, match=NOTHING):
        embedded.attach_url(_settings(tmp_path))


@pytest.mark.parametrize("content", ["", "no url", "redis://:x@127.0.0.1:notaport/0"])
def test_a_damaged_address_is_nothing_running(tmp_path: Path, content: str) -> None:
    embedded.prepare(tmp_path)
    (tmp_path / "run" / "redis.url").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=NOTHING):
        embedded.attach_url(_settings(tmp_path), patience_s=0)


def test_the_error_does_not_show_the_password(tmp_path: Path) -> None:
    password = urlsplit(embedded.prepare(tmp_path)).password or "?"
    with pytest.raises(SettingsError) as refused:
        embedded.attach_url(_settings(tmp_path), patience_s=0)
    assert password not in str(refused.value)
