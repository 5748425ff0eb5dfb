"""A secret that comes from a file is the secret that the variable would have held."""

from __future__ import annotations

from pathlib import Path

import pytest

from deedbox.ops.checks import environment
from deedbox.ops.checks.finding import Verdict
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.secret_files import MAX_BYTES, json_text
from deedbox.shared.settings import SECRETS, Settings

VALUE = "redis://:p%40ss@redis.internal:6379/0"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_may_come_from_a_file(tmp_path: Path, name: str, end: str) -> None:
    file = tmp_path / "secret"
    value = "5a" * 32 if name == "DEEDBOX_ENCRYPTION_KEYS" else VALUE
    file.write_bytes((value + end).encode())
    from_file = {f"{name}_FILE": str(file)}
    assert Settings.load(from_file) == Settings.load({name: value})
    assert Settings.load(from_file).summary() == {name: "set"}
    assert [each.verdict for each in environment.variables(from_file)] == [Verdict.OK]


def test_keys_tokens_and_every_url_that_can_hold_a_password_are_secrets() -> None:
    assert set(SECRETS) >= {
        *("DEEDBOX_API_KEYS", "DEEDBOX_SOURCES", "DEEDBOX_OPS_TOKEN", "DEEDBOX_OPS_TOKENS"),
        *("DEEDBOX_REDIS_URL", "DEEDBOX_BROKER_URL", "DEEDBOX_EVENTS_URL", "DEEDBOX_ALERT_URLS"),
        "DEEDBOX_ENCRYPTION_KEYS",
    }


def test_a_secret_that_is_set_both_ways_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-the-file")
    with pytest.raises(SettingsError) as refused:
        Settings.load({"DEEDBOX_API_KEYS": "from-the-variable", "DEEDBOX_API_KEYS_FILE": str(file)})
    assert str(refused.value) == "DEEDBOX_API_KEYS and DEEDBOX_API_KEYS_FILE are both set; unset one of them."


def test_an_empty_variable_beside_its_file_counts_as_unset(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k" * 64)
    loaded = Settings.load({"DEEDBOX_API_KEYS": "", "DEEDBOX_API_KEYS_FILE": str(file)})
    assert loaded.sources()["default"].api_keys == ("k" * 64,)
    assert Settings.load({"DEEDBOX_API_KEYS": "k", "DEEDBOX_API_KEYS_FILE": " "}) == Settings.load(
        {"DEEDBOX_API_KEYS": "k"}
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"secret\xff", "is not UTF-8 text"),
        (b"s" * (MAX_BYTES + 1), f"has more than {MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_secret_is_named_with_its_setting(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        Settings.load({"DEEDBOX_API_KEYS_FILE": str(file)})
    assert f"DEEDBOX_API_KEYS_FILE names {file}, which {why};" in str(refused.value)
    assert "secret" not in str(refused.value).replace(str(file), "")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"DEEDBOX_API_KEYS_FILE names .* \(Is a directory\)"):
        Settings.load({"DEEDBOX_API_KEYS_FILE": str(tmp_path)})


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    (finding,) = environment.variables({"DEEDBOX_HOLD_S_FILE": str(tmp_path)})
    assert finding.verdict is Verdict.WARNING


@pytest.mark.parametrize("value", ["/does/not/exist.json", "not-utf8", "a\0b", ""])
def test_json_that_should_come_from_a_file_is_refused_in_one_sentence(tmp_path: Path, value: str) -> None:
    """Of every setting that takes JSON or the path of a JSON file: they read it in one place."""
    file = tmp_path / "not-utf8"
    file.write_bytes(b'{"\xff": {}}')
    with pytest.raises(
        SettingsError, match=r"DEEDBOX_X is neither JSON nor a readable file \(.+\); it looks like {}\."
    ):
        json_text("DEEDBOX_X", str(file) if value == "not-utf8" else value, "{}")
