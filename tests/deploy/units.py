"""The shipped systemd units, read as text."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.deploy.processes import DEPLOY, Started, same

UNITS: Final = DEPLOY / "systemd"
HOME: Final = "/opt/deedbox/bin/"


def lines(path: Path) -> list[tuple[str, str]]:
    """Return the assignments of a unit, in their order."""
    text = path.read_text("utf-8").splitlines()
    pairs = [line.partition("=") for line in text if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in pairs]


def wanted_by_target() -> list[str]:
    """Return the units that the target starts."""
    return [
        unit for name, value in lines(UNITS / "deedbox.target") if name == "Wants" for unit in value.split()
    ]


def secrets(unit: str) -> tuple[set[str], bool]:
    """Return the files of secrets that a unit hands to its process, beside the common one, and whether it names the key's."""
    template, _, lane = unit.removesuffix(".service").partition("@")
    given = lines(UNITS / (f"{template}@.service" if lane else unit))
    for extra in sorted((UNITS / f"{unit}.d").glob("*.conf")):
        given += lines(extra)
    loaded: set[str] = set()
    named = False
    for name, value in given:
        if name == "LoadCredential":
            loaded = {*loaded, value.partition(":")[0]} if value else set()
        elif name == "EnvironmentFile":
            loaded.add(value.removeprefix("-/etc/deedbox/"))
        elif value.startswith("DEEDBOX_API_KEYS_FILE"):
            named = name == "Environment"
    return loaded, named


def started() -> Started:
    """Return what the target starts."""
    found: Started = {}
    for unit in wanted_by_target():
        template, _, lane = unit.removesuffix(".service").partition("@")
        file = UNITS / (f"{template}@.service" if lane else unit)
        given = lines(file)
        for extra in sorted((UNITS / f"{unit}.d").glob("*.conf")):
            given += lines(extra)
        values = dict(given)
        count = [value for name, value in given if name == "Environment" and value.startswith("PROCESSES=")]
        command = values["ExecStart"].removeprefix(HOME).replace("%i", lane)
        for each in count[-1:]:
            command = command.replace("${PROCESSES}", each.removeprefix("PROCESSES="))
        found[same(command)] = float(values["TimeoutStopSec"])
    return found
