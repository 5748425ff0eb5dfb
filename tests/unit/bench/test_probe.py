"""Laws of the probe: calls are counted whichever process they are in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench import probe

CALL = "from tests.bench.probe import called; [called({'signature_request': {'metadata': {'n': str(n)}}}) for n in range(%d)]"


def call(times: int, environ: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", CALL % times], env=os.environ | environ, check=True, timeout=60)


def test_calls_of_several_processes_add_up(tmp_path: Path) -> None:
    environ = probe.settings(tmp_path / "marks")
    call(2, environ)
    call(3, environ)
    assert list(probe.read(tmp_path / "marks")) == [5]


def test_where_each_call_counts_it_is_noted_with_its_place(tmp_path: Path) -> None:
    environ = probe.settings(tmp_path / "marks", every=True)
    call(3, environ)
    found = probe.read(tmp_path / "marks")
    assert list(found) == [0, 1, 2]
    assert found[0] <= found[1] <= found[2]


def test_nothing_was_called_as_long_as_there_is_no_file(tmp_path: Path) -> None:
    assert probe.read(tmp_path / "marks") == {}
