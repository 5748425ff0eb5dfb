"""The soak in its short form, and its judge: a proof that cannot fail proves nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak.verify import Evidence, verify

pytestmark = [pytest.mark.e2e, pytest.mark.real_redis, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("soak") / "run"
    command = ["--seconds", "20", "--seed", "11", "--rate", "30", "--kill-every", "2", "--dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return folder, done


def test_a_soak_breaks_no_promise(soaked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = soaked
    assert done.returncode == 0, done.stdout + done.stderr
    evidence = Evidence.read(folder)
    assert evidence.sent["acked"] > 300
    assert len({kill["target"] for kill in evidence.kills}) >= 5


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def _forget_a_call(folder: Path) -> None:
    lines = _lines(folder / "data" / "record.jsonl")
    wanted = next(line for line in lines if '"deedbox.' not in line)
    key = json.loads(wanted)["idempotency_key"]
    kept = "".join(line for line in lines if json.loads(line)["idempotency_key"] != key)
    (folder / "data" / "record.jsonl").write_text(kept, encoding="utf-8")


def _repeat_a_call(folder: Path) -> None:
    path = folder / "data" / "record.jsonl"
    path.write_text("".join([*_lines(path), _lines(path)[0]]), encoding="utf-8")
    (folder / "kills.jsonl").write_text("", encoding="utf-8")


def _rename_a_key(folder: Path) -> None:
    path = folder / "data" / "record.jsonl"
    row = json.loads(_lines(path)[-1] if '"deedbox.' not in _lines(path)[-1] else _lines(path)[0])
    again = json.dumps({**row, "idempotency_key": "0" * 32 + ":record"}) + "\n"
    path.write_text("".join([*_lines(path), again]), encoding="utf-8")


def _swap_two_calls(folder: Path) -> None:
    path = folder / "data" / "record.jsonl"
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


BREAKS: dict[str, Callable[[Path], None]] = {
    "never reached the action": _forget_a_call,
    "repeated without a crash": _repeat_a_call,
    "two idempotency keys": _rename_a_key,
    "out of order": _swap_two_calls,
    "not whole": _cut_a_document,
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
