"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TEST = """
pytest_plugins = ["deedbox.testing.plugin"]

def act(event, context):
    raise KeyError(event.signature_request_id)

def test_it(deedbox):
    calls = deedbox.play(deedbox.lifecycle(1, seed=5), act)
    ran = deedbox.run(act, deedbox.callback("signature_request_signed", request_id="r1"))
    assert (calls[0].outcome, ran.outcome) == ("error", "error")
    assert WANTED
"""


def test_the_fixture_works_and_a_failed_test_lists_its_calls(tmp_path: Path) -> None:
    for wanted in ("True", "False"):
        (tmp_path / f"test_{wanted.lower()}.py").write_text(TEST.replace("WANTED", wanted))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:valkey",
        str(tmp_path),
    ]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in found.stdout, found.stdout + found.stderr
    report = found.stdout[found.stdout.index("Deedbox calls") :]
    assert "signature_request_sent -> test_false.act, attempt 1: error KeyError" in report
