"""The wheel has everything that the dashboard shows, and nothing of another licence than it says."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_template_and_static_file_is_in_the_wheel(names: set[str]) -> None:
    wanted = [
        path for folder in ("templates", "static") for path in (ROOT / "ops" / "web" / folder).rglob("*")
    ]
    files = {f"deedbox/{path.relative_to(ROOT).as_posix()}" for path in wanted if path.is_file()}
    assert files
    assert files <= names


def test_the_runbook_that_the_dashboard_shows_is_in_the_wheel(names: set[str]) -> None:
    assert "deedbox/ops/web/runbook.md" in names


def test_tests_and_what_they_vendor_stay_out_of_the_wheel(names: set[str]) -> None:
    assert not [name for name in names if name.startswith("tests") or "axe" in name]
