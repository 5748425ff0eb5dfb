"""Runs one section of the benchmark alone: ``python -m tests.bench.<section> [--quick]``, results in ``var/bench``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from rich.console import Console

from deedbox.shared.core.errors import SettingsError
from tests.bench.processes import ROOT, BenchError

INTERRUPTED: Final = 130


class Section(Protocol):
    """Measures, prints its tables, writes its plots into ``out``; returns JSON values. Raises BenchError."""

    def __call__(self, *, quick: bool, out: Path, console: Console) -> dict[str, Any]: ...


def run_alone(name: str, description: str | None, section: Section) -> int:
    """Run the section as a command. Returns the exit code: 0 ok, 1 something was not measured, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smaller and rougher")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    console = Console(width=None if sys.stdout.isatty() else 150)
    out = ROOT / "var" / "bench" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    out.mkdir(parents=True, exist_ok=True)
    try:
        found = section(quick=options.quick, out=out, console=console)
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has been stopped")
        return INTERRUPTED
    except (BenchError, SettingsError) as error:
        console.print(f"bench: {error}", markup=False)
        return 1
    target = out / f"{name}.json"
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(f"[dim]written: {target.relative_to(ROOT)}[/dim]")
    return 1 if found.get("troubles") else 0


def _terminated(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
