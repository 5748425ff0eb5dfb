"""The Dockerfile: linted, and with all that the package is built from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from deedbox.shared.settings import Settings
from tests.deploy.processes import DEPLOY, ROOT, wanted
from tests.deploy.tools import check

DOCKERFILE: Final = DEPLOY / "Dockerfile"
TEXT: Final = DOCKERFILE.read_text("utf-8")


def _copied() -> set[str]:
    rows = re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE)
    return {name for row in rows for name in row.split()}


def test_hadolint_finds_nothing() -> None:
    assert check("hadolint", str(DOCKERFILE)) == ""


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    rows = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert rows[1] == "*"
    assert {row[1:] for row in rows if row.startswith("!")} == _copied()
    assert [name for name in _copied() if not (ROOT / name).exists()] == []


def test_the_build_copies_every_folder_and_file_that_the_package_is_made_from() -> None:
    links = [path for path in Path(ROOT / "deedbox").rglob("*") if path.is_symlink()]
    links += [path for name in ("ingress", "workers", "ops", "shared") for path in (ROOT / name).rglob("*") if path.is_symlink()]  # fmt: skip
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["metadata"]["hooks"]
    targets = {path.resolve().relative_to(ROOT) for path in links} | {Path(hooks["custom"]["path"])}
    copied = {Path(name) for name in _copied()}
    assert [target for target in targets if not copied & {target, *target.parents}] == []


def test_the_image_runs_web_without_root_on_addresses_that_other_containers_reach() -> None:
    assert re.search(r"^USER 10001:10001$", TEXT, re.MULTILINE)
    assert 'CMD ["python", "-m", "deedbox.ingress"]' in TEXT
    assert "python -m deedbox.ingress" in wanted()
    variables = dict(re.findall(r"(DEEDBOX_\w+)=(\S+)", TEXT))
    loaded = Settings.load(variables)
    assert loaded.bind == loaded.ops_bind == "0.0.0.0"  # noqa: S104 - a container's own network
    assert f"EXPOSE {loaded.port} {loaded.ops_port}" in TEXT
    assert set(variables) <= {str(field.alias) for field in Settings.model_fields.values()} | {
        "DEEDBOX_DOCUMENTS_URL"
    }
