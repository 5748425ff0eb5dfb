"""The systemd units: correct for systemd, closed in, and started by it on a machine that it boots."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from deedbox.ops.supervise.secrets import NEEDED, process_type
from tests.component.workers.server import missing
from tests.deploy.machine import KEY, TOKEN, Machine, booted, demand_tools
from tests.deploy.units import HOME, UNITS, wanted_by_target
from tests.support.waiting import until

URL: Final = "http://127.0.0.1:8000/callbacks"

EXPOSURE: Final = 15
"""In tenths, as ``--threshold`` takes it: 1.5 of 10. What remains is the network, which is what Deedbox is for."""


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the units with programs that exist here: ``verify`` looks for them."""
    if shutil.which("systemd-analyze") is None:
        missing("No systemd-analyze was found; install Debian's package systemd.")
    folder = tmp_path_factory.mktemp("units") / "system"
    shutil.copytree(UNITS, folder)
    for unit in folder.glob("*.service"):
        text = (
            unit.read_text("utf-8")
            .replace(f"{HOME}python", "/bin/true")
            .replace(f"{HOME}deedbox", "/bin/true")
        )
        unit.write_text(text, "utf-8")
    for lane in ("sequencer", "default", "documents"):
        shutil.copy(folder / "deedbox-worker@.service", folder / f"deedbox-worker@{lane}.service")
    return folder


def _analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/usr/sbin", "LANG": "C.UTF-8"}
    command = ("systemd-analyze", *words)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", ["deedbox.target", "deedbox-web.socket", *wanted_by_target()])
def test_systemd_accepts_every_unit(units: Path, unit: str) -> None:
    done = _analyze(units, "verify", "--man=no", str(units / unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", wanted_by_target())
def test_no_service_is_exposed_more_than_the_network_needs(units: Path, unit: str) -> None:
    path = str(units / unit)
    done = _analyze(units, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", path)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    demand_tools()
    with booted(tmp_path_factory.mktemp("machine") / "root") as machine:
        until(lambda: machine.active("deedbox.target"), "deedbox.target is active")
        yield machine


@pytest.mark.e2e
@pytest.mark.real_redis
def test_the_target_runs_callbacks_and_a_restart_of_web_refuses_none(machine: Machine) -> None:
    played = machine.run(
        *("deedbox", "simulate", "--url", URL, "--api-key", KEY, "--json"),
        *("--requests", "2", "--rate", "50", "--delay", "0.1", "--seed", "7"),
    )
    assert played.returncode == 0, played.stderr + machine.journal()
    assert json.loads(played.stdout)["acked"] > 0
    until(lambda: "action.finished" in machine.journal(), "a worker has run an action")

    restarted = machine.run("python", "-c", _RESTART, URL.removesuffix("callbacks"))
    assert restarted.stdout == "[200]\n", restarted.stdout + restarted.stderr + machine.journal()
    assert {unit: machine.shown(unit, "NRestarts") for unit in wanted_by_target()} == dict.fromkeys(
        wanted_by_target(), "0"
    )
    assert all(machine.shown(unit, "User") == "deedbox" for unit in wanted_by_target())


@pytest.mark.e2e
@pytest.mark.real_redis
def test_no_process_has_a_key_or_a_token_that_it_does_not_need(machine: Machine) -> None:
    """Neither in its environment, nor in a file that it can open."""
    needs = {KEY: "DEEDBOX_API_KEYS", TOKEN: "DEEDBOX_OPS_TOKEN"}
    for unit in wanted_by_target():
        name = unit.removesuffix(".service").removeprefix("deedbox-").replace("worker@", "worker-")
        pid = machine.shown(unit, "MainPID")
        seen = machine.run("python", "-c", _LOOK, pid)
        assert seen.returncode == 0, seen.stderr
        had = {setting for secret, setting in needs.items() if secret in seen.stdout}
        assert had == NEEDED[process_type(name)] & set(needs.values()), unit


_LOOK: Final = """
import os, subprocess, sys
proc = f"/proc/{sys.argv[1]}"
print(open(f"{proc}/environ", errors="replace").read())
uid = os.stat(proc).st_uid
inside = ["nsenter", "--target", sys.argv[1], "--mount", "--setuid", str(uid), "--setgid", str(uid), "--"]
for folder in ("/etc/deedbox", "/run/credentials"):
    done = subprocess.run([*inside, "find", folder, "-type", "f", "-exec", "cat", "{}", "+"], capture_output=True, text=True)
    print(done.stdout)
"""
"""Reads what a process has, as its user and from where it is: its environment, and the files of secrets."""

_RESTART: Final = """
import subprocess, sys, time, urllib.request
restart = subprocess.Popen(["systemctl", "restart", "deedbox-web.service"])
seen, until = set(), None
while until is None or time.monotonic() < until:
    try:
        with urllib.request.urlopen(sys.argv[1] + "healthz", timeout=20) as answer:
            seen.add(answer.status)
    except OSError as error:
        seen.add(repr(error))
    if until is None and restart.poll() is not None:
        until = time.monotonic() + 0.5
print(list(seen))
sys.exit(restart.returncode)
"""
"""Asks while web restarts, each time on a new connection."""
