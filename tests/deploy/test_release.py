"""A release: one command makes it, and its workflow publishes it without a stored secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from packaging.utils import canonicalize_name

from tests.deploy.processes import DEPLOY, ROOT
from tests.deploy.tools import check

VERSION: Final = str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
COMMAND: Final = (sys.executable, str(DEPLOY / "release.py"))
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE: Final = ROOT / ".github" / "workflows" / "release.yml"


def _release(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the command makes, from an environment into which it really installed the wheel."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    done = _release("--dist", str(folder), "--tag", f"v{VERSION}", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_release_is_wheel_sdist_sbom_licences_and_notes(dist: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {
        f"deedbox-{VERSION}-py3-none-any.whl", f"deedbox-{VERSION}.tar.gz",
        f"deedbox-{VERSION}.cdx.json", f"deedbox-{VERSION}.licences.txt", "notes.md",
    }  # fmt: skip
    assert "**" in (dist / "notes.md").read_text("utf-8")


def test_the_sbom_names_what_a_user_gets_in_the_locked_versions_and_no_tool_of_ours(dist: Path) -> None:
    sbom = json.loads((dist / f"deedbox-{VERSION}.cdx.json").read_text("utf-8"))
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "deedbox")
    parts = {canonicalize_name(part["name"]): part["version"] for part in sbom["components"]}
    assert {"flask", "kombu", "rq", "redis", "dropbox-sign", "gunicorn"} <= set(parts)
    assert not {"pytest", "mypy", "hatchling", "uv"} & set(parts)
    rows = (ROOT / "requirements.txt").read_text("utf-8")
    locked = set(re.findall(r"^([\w.-]+)==(\S+)", rows, re.MULTILINE))
    assert set(parts.items()) - {("deedbox", VERSION)} <= locked


def test_the_list_has_a_licence_for_every_package_of_the_sbom(dist: Path) -> None:
    text = (dist / f"deedbox-{VERSION}.licences.txt").read_text("utf-8")
    rows = dict(re.findall(r"^(\S+) \S+: (.+)$", text, re.MULTILINE))
    sbom = json.loads((dist / f"deedbox-{VERSION}.cdx.json").read_text("utf-8"))
    assert set(rows) == {part["name"] for part in sbom["components"]} - {"deedbox"}
    assert rows["Flask" if "Flask" in rows else "flask"] == "BSD-3-Clause"


def test_a_tag_of_another_version_is_no_release(tmp_path: Path) -> None:
    done = _release("--dist", str(tmp_path / "dist"), "--tag", "v9.9.9")
    assert done.returncode == 1
    assert done.stderr == f"No release: the tag is v9.9.9, and pyproject.toml has the version {VERSION}\n"
    assert not (tmp_path / "dist").exists()


def test_the_manifests_name_the_image_of_this_version() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "kustomization.yaml").read_text("utf-8"))
    assert [image["newTag"] for image in listed["images"]] == [VERSION]


def _jobs(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text("utf-8"))["jobs"])


def test_every_workflow_is_valid() -> None:
    files = [str(path) for path in WORKFLOWS]
    assert check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files) == ""


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_pins_every_action_to_a_version(path: Path) -> None:
    text = path.read_text("utf-8")
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+(\.\d+)*", each)] == []
    assert "permissions" in yaml.safe_load(text)
    assert [name for name, job in _jobs(path).items() if "timeout-minutes" not in job] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_of_a_workflow_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    called = {
        word for row in re.findall(r"run: make ([a-z -]+)", path.read_text("utf-8")) for word in row.split()
    }
    assert called <= targets


def test_the_release_is_published_by_trust_and_no_secret_is_stored() -> None:
    assert "secrets." not in RELEASE.read_text("utf-8")
    rights = {name: job.get("permissions", {}) for name, job in _jobs(RELEASE).items()}
    assert yaml.safe_load(RELEASE.read_text("utf-8"))["permissions"] == {}
    assert rights["publish"] == {"id-token": "write"}
    assert [name for name, each in rights.items() if each.get("contents") == "write"] == ["page"]


def test_only_wheel_and_sdist_are_published(dist: Path) -> None:
    [upload] = [
        step for step in _jobs(RELEASE)["build"]["steps"] if step.get("with", {}).get("name") == "packages"
    ]
    found = {path for row in upload["with"]["path"].split() for path in dist.glob(row.removeprefix("dist/"))}
    assert {path.suffix for path in found} == {".whl", ".gz"}
