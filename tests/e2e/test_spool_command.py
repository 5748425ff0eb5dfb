"""The command ``deedbox spool``, as an operator types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.signature import BodySignature

pytestmark = pytest.mark.e2e


def _spool(data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    environment = {**kept, "DEEDBOX_DATA_DIR": str(data_dir), "DEEDBOX_API_KEYS": "key",
                   "DEEDBOX_BROKER_URL": "redis://127.0.0.1:1/0"}  # fmt: skip
    command = [sys.executable, "-c", "from deedbox.ops.cli import main; main()", "spool", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_what_a_host_spooled_is_counted_and_stays_while_the_broker_is_away(tmp_path: Path) -> None:
    spool = Spool(SpoolDir(tmp_path), 1_000_000)
    spool.append(Envelope("default", 1_700_000_000.0, BodySignature.ABSENT, "a" * 32, b"{}"), 5)
    spool.close()

    before = _spool(tmp_path, "status", "--json")
    drained = _spool(tmp_path, "drain")
    after = _spool(tmp_path, "status", "--json")

    assert json.loads(before.stdout)["callbacks"] == 1
    assert drained.returncode == 1
    assert "Traceback" not in drained.stderr
    assert json.loads(after.stdout) == json.loads(before.stdout)
