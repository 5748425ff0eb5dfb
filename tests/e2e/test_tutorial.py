"""The tutorial, followed to the letter: its files, its commands, in its order. Only the ports differ, and nothing is downloaded."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import urllib3

from tests.e2e.conftest import Start
from tests.e2e.running import COMMAND, environment, until
from tests.support.pages import ROOT, blocks

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis, pytest.mark.timeout(240)]

PAGE = "docs/tutorial.md"
INSTALLING = {"python3 -m venv venv", ". venv/bin/activate", "pip install deedbox"}
"""What tests/e2e/test_installed.py does."""


def _shell(command: str, folder: Path) -> str:
    """Run a command as in the reader's terminal; returns what it prints."""
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(PATH=path), capture_output=True, text=True, check=False,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_whoever_follows_the_tutorial_sees_what_it_says(start: Start, tmp_path: Path) -> None:
    steps = [re.findall(r"^\$ (.+)$", block, re.MULTILINE) for block in blocks(PAGE, "console")]
    install, begin, send, look = ([each for each in step if each not in INSTALLING] for step in steps)
    [action] = blocks(PAGE, "python")

    assert [_shell(each, tmp_path).startswith("deedbox ") for each in install] == [True]
    name = re.findall(r"^# (\w+\.py)$", action, re.MULTILINE)[0]
    (tmp_path / name).write_text(action, "utf-8")
    for each in begin[:-1]:
        _shell(each, tmp_path)
    assert begin[-1] == "deedbox up"
    said = start("up").says("Deedbox is ready.")
    [url] = re.findall(r"callbacks +(http://\S+)", said)
    [play] = send
    assert "http://localhost:8000/callbacks" in play
    report = _shell(play.replace("http://localhost:8000/callbacks", url), tmp_path)
    [promised] = re.findall(r"It reports `([^`]+)`", (ROOT / PAGE).read_text("utf-8"))
    assert promised in report

    signed = tmp_path / "signed.txt"
    [ops] = re.findall(r"dashboard +(http://[\w.:]+)", said)
    until(lambda: signed.exists() and not _waiting(ops), "everything has run")
    read, status, trace = (_shell(each, tmp_path) for each in look)
    lines = read.splitlines()
    assert len(lines) == len(set(lines)) > 1  # once for each signature
    request_id = lines[0].split()[0]
    ran = sum(request_id in line for line in lines)
    assert f"{ran} of {ran} signers signed" in trace
    assert trace.count("write_it_down") == ran
    assert "default" in status


def _waiting(ops: str) -> bool:
    """Tell whether a call or a callback still waits."""
    stages = urllib3.request("GET", f"{ops}/api/queues", timeout=20).json()["stages"]
    return any(stage["depth"] for stage in stages.values())
