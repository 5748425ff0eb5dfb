"""The pages about deployment name what is there."""

from __future__ import annotations

import re
from typing import Final

import pytest

from deedbox.shared.settings import SECRETS, Settings
from tests.deploy.processes import ROOT
from tests.deploy.units import UNITS, wanted_by_target

HOSTS: Final = (ROOT / "docs" / "hosts.md").read_text("utf-8")
SYSTEMD: Final = (ROOT / "docs" / "systemd.md").read_text("utf-8")


@pytest.mark.parametrize("text", [HOSTS, SYSTEMD], ids=["hosts", "systemd"])
def test_every_unit_on_a_page_exists(text: str) -> None:
    named = set(re.findall(r"deedbox-(?:web|bridge|sweeper|ops|worker@\w*)(?:\.\w+)?", text))
    assert named
    for unit in named:
        template = re.sub(r"@\w+", "@", unit)
        assert (UNITS / template).exists() or (UNITS / f"{template}.service").exists(), unit


def test_the_hosts_of_the_example_run_together_what_one_server_runs() -> None:
    rows = re.findall(r"^\| [\w, ]+ \| 10[^|]*\| (`deedbox-[^|]*) \|", HOSTS, re.MULTILINE)
    units = {f"{unit}.service" for row in rows for unit in re.findall(r"`([^`]+)`", row)}
    assert units == set(wanted_by_target())


def test_the_settings_of_the_example_are_settings() -> None:
    (block,) = re.findall(r"```ini\n(DEEDBOX_.*?)```", HOSTS, re.DOTALL)
    given = dict(row.split("=", 1) for row in block.splitlines())
    files = {name for name in given if name.endswith("_FILE")}
    assert {name.removesuffix("_FILE") for name in files} <= set(SECRETS)
    loaded = Settings.load({name: value for name, value in given.items() if name not in files})
    assert {f"DEEDBOX_{name}" for name in ("OPS_BIND", "OPS_HOSTS", "DOCUMENTS_URL")} <= set(loaded.summary())
    for port in (loaded.port, loaded.ops_port):
        assert f":{port}" in HOSTS
