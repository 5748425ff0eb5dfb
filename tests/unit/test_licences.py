"""Everything that Deedbox installs may be used in a company's product: permissive licences, and MPL for single files."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([A-Za-z0-9][^#\\\s]*==[^\\\n]*?)\s*\\?$", re.MULTILINE)

ALLOWED = {
    "MIT", "MIT-0", "MIT License", "BSD-2-Clause", "BSD-3-Clause", "BSD License", "0BSD", "Apache-2.0", "Apache Software License",
    "ISC", "ISC License (ISCL)", "PSF-2.0", "Python Software Foundation License", "MPL-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)", "Unlicense", "The Unlicense (Unlicense)", "Zope Public License",
}  # fmt: skip
"""MPL-2.0 binds changes to its own files only. No GPL, AGPL, SSPL or BUSL, and nothing that names no licence."""


def locked() -> list[str]:
    """Return the packages of the lock that belong on this platform."""
    lines = PINNED.findall((ROOT / "requirements.txt").read_text("utf-8"))
    found = [Requirement(line) for line in lines]
    return sorted(each.name for each in found if each.marker is None or each.marker.evaluate())


def licences(name: str) -> set[str]:
    """Return the licences that a package's metadata name: an SPDX expression, else its classifiers."""
    metadata = distribution(name).metadata.json
    if expression := metadata.get("license_expression"):
        return set(re.split(r"\s+(?:AND|OR)\s+", re.sub(r"[()]", "", str(expression))))
    classifiers = [str(each) for each in metadata.get("classifier", ())]
    named = {each.split(" :: ")[-1] for each in classifiers if each.startswith("License ::")}
    return named or {str(metadata.get("license", "none"))}


def test_the_lock_is_read() -> None:
    assert {"flask", "rq", "redis", "kombu", "dropbox-sign"} <= set(locked())


@pytest.mark.parametrize("name", locked())
def test_each_dependency_has_a_licence_that_is_allowed(name: str) -> None:
    try:
        found = licences(name)
    except PackageNotFoundError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{name} is not installed: `make setup` installs what is locked")
    assert found <= ALLOWED, (
        f"{name}: {', '.join(sorted(found))}; see whether it may be used, and list it then"
    )
