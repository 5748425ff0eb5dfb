"""A process that has settled walks rarely through what it holds, and still frees what refers to itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

SETTLED: Final = "import gc; from deedbox.shared.runtime import memory; memory.settle()\n"
COLLECTIONS: Final = "sum(each['collections'] for each in gc.get_stats())"


def _said(program: str) -> str:
    """Run it in its own process: the collector is one per process."""
    run = subprocess.run(
        [sys.executable, "-c", SETTLED + program], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_the_objects_of_a_batch_are_not_walked_through() -> None:
    program = (
        f"before = {COLLECTIONS}\n"
        "batch = [[number] for number in range(10_000)]\n"
        f"print({COLLECTIONS} - before)"
    )
    assert _said(program) == "0"


def test_what_start_up_made_is_walked_through_no_more() -> None:
    assert _said("print(gc.get_freeze_count() > 1_000, len(gc.get_objects()) < 1_000)") == "True True"


def test_objects_that_refer_to_themselves_are_freed_in_time() -> None:
    program = (
        "import weakref\n"
        "class Knot:\n"
        "    def __init__(self): self.me = self\n"
        "first = weakref.ref(Knot())\n"
        "for _ in range(50_000): Knot()\n"
        "print(first())"
    )
    assert _said(program) == "None"
