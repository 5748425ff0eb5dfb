"""Make a release: ``make release``, or ``python deploy/release.py`` in the development environment.

Builds wheel and sdist, and installs the wheel with the locked versions into an empty environment. Lists what is in that
environment: an SBOM in the form of CycloneDX, and the licences. Then runs the demo there. ``CONTRIBUTING.md`` says what
comes before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
TOOLS: Final = Path(sys.executable).parent

_LICENCES: Final = """Packages that `pip install deedbox` of version {version} brings, with the locked versions, on this kind of
machine ({platform}). None of them is part of the wheel.

"""


def main() -> int:
    """Make it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make release", description="Make a release.")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the results; emptied")
    parser.add_argument("--tag", default="", help="the tag that is released; must be the version's")
    parser.add_argument(
        "--quick", action="store_true", help="no demo, and no check of the SBOM against its schema"
    )
    asked = parser.parse_args()
    try:
        version = _version(asked.tag)
        notes = _notes(version)
        _build(asked.dist)
        (asked.dist / "notes.md").write_text(notes, "utf-8")
        with TemporaryDirectory(prefix="deedbox-release-") as folder:
            environment = _installed(Path(folder), asked.dist)
            _describe(environment, asked.dist, version, check=not asked.quick)
            if not asked.quick:
                _demo(environment, Path(folder))
    except (ValueError, subprocess.CalledProcessError) as problem:
        sys.stderr.write(f"No release: {problem}\n")
        return 1
    _say(f"Deedbox {version} is in {asked.dist}:")
    _say("\n".join(f"  {path.name}" for path in sorted(asked.dist.iterdir())))
    return 0


def _version(tag: str) -> str:
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])
    if tag and tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, and pyproject.toml has the version {version}")
    return version


def _notes(version: str) -> str:
    """Return the section of the changelog."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"CHANGELOG.md has no heading like `## [{version}] - 2026-01-31`")
    return found[1].strip() + "\n"


def _build(dist: Path) -> None:
    _say("Building wheel and sdist")
    shutil.rmtree(dist, ignore_errors=True)
    _run(sys.executable, "-m", "hatchling", "build", "-d", dist)


def _installed(folder: Path, dist: Path) -> Path:
    """Return a new environment that has the wheel and what it needs, and nothing else."""
    _say("Installing the wheel into an empty environment")
    [wheel] = dist.glob("*.whl")
    environment = folder / "environment"
    # pip, as in the set-up: it knows the index and the certificates that this machine is configured with. It stays outside,
    # since it is no part of what a user gets.
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    locked = re.findall(r"^\w\S*==[^\\\n]+", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    constraints = folder / "constraints.txt"
    # Without hashes: the new wheel has none there.
    constraints.write_text("\n".join(locked), "utf-8")
    _run(sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "--disable-pip-version-check",
         "install", "--quiet", "--constraint", constraints, wheel)  # fmt: skip
    return environment


def _describe(environment: Path, dist: Path, version: str, *, check: bool) -> None:
    """Write the SBOM, and the licences that it names."""
    _say("Writing SBOM and licences")
    sbom = dist / f"deedbox-{version}.cdx.json"
    _run(TOOLS / "cyclonedx-py", "environment", "--output-reproducible", "--validate" if check else "--no-validate",
         "--pyproject", ROOT / "pyproject.toml", "--mc-type", "application", "-o", sbom,
         environment / "bin" / "python")  # fmt: skip
    parts = json.loads(sbom.read_text("utf-8"))["components"]
    rows = sorted(
        f"{part['name']} {part['version']}: {_licence(part)}\n" for part in parts if part["name"] != "deedbox"
    )
    head = _LICENCES.format(version=version, platform=sys.platform)
    (dist / f"deedbox-{version}.licences.txt").write_text(head + "".join(rows), "utf-8")


def _licence(part: dict[str, Any]) -> str:
    """Return what a component of the SBOM is licensed under."""
    named = [each.get("expression") or each["license"].get("id") or each["license"]["name"]
             for each in part.get("licenses", ())]  # fmt: skip
    if not named:
        raise ValueError(f"{part['name']} names no licence")
    return ", ".join(dict.fromkeys(name.rpartition(" :: ")[2] for name in named))


def _demo(environment: Path, folder: Path) -> None:
    """Run the demo with no other program of this machine on the path."""
    _say("Running the demo from the wheel")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEEDBOX_", "PYTHON"))}
    _run(environment / "bin" / "deedbox", "demo", cwd=folder, env={**kept, "PATH": str(environment / "bin")})


def _run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, cwd=cwd, env=env, check=True, stdin=subprocess.DEVNULL)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
