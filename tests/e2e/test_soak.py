"""The soak in its short form, and its judge: a proof that cannot fail proves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.soak.verify import Evidence, verify

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


ROOT_ONLY = "A disk that is full needs a mount, and that needs root."


def _soak(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", *words, "--dir", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("soak") / "run"
    disk = ["--small-disk"] if os.geteuid() == 0 else []
    words = ["--seconds", "20", "--seed", "20", "--rate", "30", "--kill-every", "1.6", *disk]
    return folder, _soak(folder, *words)


def _hit(folder: Path) -> set[str]:
    return {kill["target"] for kill in Evidence.read(folder).kills}


def test_a_soak_breaks_no_promise(soaked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = soaked
    assert done.returncode == 0, done.stdout + done.stderr
    assert Evidence.read(folder).sent["acked"] > 300
    assert len(_hit(folder)) >= 5


def test_in_a_soak_an_action_moves_to_another_lane(
    soaked: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert "lane" in _hit(soaked[0])


@pytest.mark.skipif(os.geteuid() != 0, reason=ROOT_ONLY)
def test_in_a_soak_the_disk_is_full_for_some_seconds(
    soaked: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """The embedded Redis ends when it cannot write, and is started until there is room again."""
    folder, _ = soaked
    assert "disk" in _hit(folder)
    assert "redis exited with status 1" in (folder / "up.log").read_text("utf-8", errors="replace")


def test_a_soak_in_which_the_replica_that_is_waited_for_goes_away_breaks_no_promise(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["--seconds", "10", "--seed", "3", "--rate", "20", "--kill-every", "1.2", "--replicas", "1"]
    done = _soak(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "replica" in _hit(folder)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def _forget_a_call(folder: Path) -> None:
    lines = _lines(folder / "record.jsonl")
    wanted = next(line for line in lines if '"deedbox.' not in line)
    key = json.loads(wanted)["idempotency_key"]
    kept = "".join(line for line in lines if json.loads(line)["idempotency_key"] != key)
    (folder / "record.jsonl").write_text(kept, encoding="utf-8")


def _repeat_a_call(folder: Path) -> None:
    path = folder / "record.jsonl"
    path.write_text("".join([*_lines(path), _lines(path)[0]]), encoding="utf-8")
    (folder / "kills.jsonl").write_text("", encoding="utf-8")


def _rename_a_key(folder: Path) -> None:
    path = folder / "record.jsonl"
    row = json.loads(_lines(path)[-1] if '"deedbox.' not in _lines(path)[-1] else _lines(path)[0])
    again = json.dumps({**row, "idempotency_key": "0" * 32 + ":record"}) + "\n"
    path.write_text("".join([*_lines(path), again]), encoding="utf-8")


def _swap_two_calls(folder: Path) -> None:
    path = folder / "record.jsonl"
    rows = [json.loads(line) for line in _lines(path)]
    late_free = [row for row in rows if not row["late"] and not row["type"].startswith("deedbox.")]
    first = next(
        row
        for row in late_free
        if any(each["key"] == row["key"] and each["time"] > row["time"] for each in late_free)
    )
    rows.remove(first)
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, first]), encoding="utf-8")


def _cut_a_document(folder: Path) -> None:
    document = next((folder / "data" / "documents" / "default").glob("*/*.pdf"))
    document.write_bytes(document.read_bytes()[:-1])


def _moves(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(folder / "moves.jsonl")]


def _write_moves(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "moves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _forget_a_move(folder: Path) -> None:
    rows = _moves(folder)
    _write_moves(folder, [row for row in rows if row["idempotency_key"] != rows[0]["idempotency_key"]])


def _let_two_calls_overlap(folder: Path) -> None:
    """One call ends when everything else is over."""
    rows = _moves(folder)
    keys = [row["key"] for row in rows if row["edge"] == "begin"]
    first = next(row for row in rows if row["edge"] == "end" and keys.count(row["key"]) > 1)
    rows.remove(first)
    _write_moves(folder, [*rows, first])


BREAKS: dict[str, Callable[[Path], None]] = {
    "never reached the action": _forget_a_call,
    "repeated without a crash": _repeat_a_call,
    "two idempotency keys": _rename_a_key,
    "out of order": _swap_two_calls,
    "not whole": _cut_a_document,
    "never reached the action that moves": _forget_a_move,
    "beside another one of their unit": _let_two_calls_overlap,
}


@pytest.mark.parametrize("problem", BREAKS)
def test_the_second_program_finds_what_is_broken(
    soaked: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, problem: str
) -> None:
    """A copy of the evidence is falsified in one place."""
    folder = tmp_path / "copy"
    shutil.copytree(soaked[0], folder, ignore=shutil.ignore_patterns("redis", "run", "spool"))
    BREAKS[problem](folder)
    assert any(problem in each for each in verify(Evidence.read(folder)).problems or ())
