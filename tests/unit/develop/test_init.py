"""``deedbox init``: files that work, and none that is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values
from typer.testing import CliRunner

from deedbox.ops.cli import app
from deedbox.ops.develop import new_project
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.settings import Settings

FILES = [".env", "callbacks.py", "compose.yaml", "test_callbacks.py"]


def test_the_written_test_passes_on_the_written_actions(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    done = CliRunner().invoke(app, ["init", str(folder)])
    assert (done.exit_code, sorted(path.name for path in folder.iterdir())) == (0, FILES)
    assert all(word in done.output for word in ("DEEDBOX_API_KEYS", "pytest", "deedbox up", "deedbox send"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (ran.returncode, "4 passed" in ran.stdout) == (0, True), ran.stdout


def test_the_written_settings_lack_the_key_only(tmp_path: Path) -> None:
    new_project.begin(tmp_path)
    found = {name: value or "" for name, value in dotenv_values(tmp_path / ".env").items()}
    assert Settings.load(found).actions == ("callbacks",)
    with pytest.raises(SettingsError, match="DEEDBOX_API_KEYS is not set"):
        Settings.load(found).sources()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_the_compose_file_is_one_and_sets_what_exists(tmp_path: Path) -> None:
    new_project.begin(tmp_path)
    document = yaml.safe_load((tmp_path / "compose.yaml").read_text("utf-8"))
    assert set(document["services"]) == {"redis", "deedbox"}
    known = {str(field.alias) for field in Settings.model_fields.values()}
    assert document["services"]["deedbox"]["environment"].keys() <= known
    schema = [
        str(Path(sys.executable).with_name("check-jsonschema")),
        "--builtin-schema",
        "vendor.compose-spec",
    ]
    checked = subprocess.run(
        [*schema, str(tmp_path / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_nothing_that_is_there_is_touched(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_text("mine")
    lines = new_project.begin(tmp_path)
    assert [(tmp_path / name).read_text() for name in FILES] == ["mine"] * 4
    assert [line.split()[0] for line in lines[:4]] == ["kept"] * 4
    assert "DEEDBOX_ACTIONS" in "\n".join(lines)


def test_a_second_run_keeps_everything(tmp_path: Path) -> None:
    new_project.begin(tmp_path)
    assert [line.split()[0] for line in new_project.begin(tmp_path)[:4]] == ["kept"] * 4


def test_other_actions_get_no_test_and_another_compose_file_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "callbacks.py").write_text("x = 1")
    (tmp_path / "docker-compose.yml").write_text("services: {}")
    (tmp_path / ".gitignore").write_text(".venv\n.env\n")
    lines = new_project.begin(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".env",
        ".gitignore",
        "callbacks.py",
        "docker-compose.yml",
    ]
    assert [line.split()[0] for line in lines[:4]] == ["written", "kept", "left", "left"]
    assert "version control" not in "\n".join(lines)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        new_project.begin(tmp_path / "file")
