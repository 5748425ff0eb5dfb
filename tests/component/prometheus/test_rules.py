"""Prometheus's own tool reads the rules, and runs their cases."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.component.workers.server import missing
from tests.support.dashboard import PROMETHEUS


@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yaml"),
        ("test", "rules", "rules_test.yaml"),
    ],
)
def test_promtool_has_nothing_to_say(command: tuple[str, ...]) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        missing("No promtool was found; install Debian's package prometheus.")
    done = subprocess.run(
        [tool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
