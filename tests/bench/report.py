"""The report: medians with their range over the rounds, ratios of medians to the named peers, and the machine.

A ratio says how many times better Deedbox's row is than the peer's in the same run on the same cores; numbers of
two runs, or two machines, say nothing about each other.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from deedbox.shared.redis.embedded import find_server
from tests.bench.layouts import LAYOUTS, Column, Ratio
from tests.bench.room import Sample

RESTLESS: Final = 1.5
"""Largest over smallest round from which on a ratio is marked as doubtful."""

LIBRARIES: Final = (
    "flask",
    "werkzeug",
    "gunicorn",
    "kombu",
    "celery",
    "rq",
    "fastapi",
    "uvicorn",
    "taskiq",
    "taskiq-redis",
    "redis",
    "hiredis",
    "multipart",
    "psutil",
)


Summary = dict[str, dict[str, dict[str, dict[str, float]]]]


def summarize(samples: Iterable[Sample]) -> Summary:
    """Return section -> subject -> value -> median, min, max and number of rounds."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for sample in samples:
        values = found.setdefault(sample.section, {}).setdefault(sample.subject, {})
        for name, value in sample.values.items():
            values.setdefault(name, []).append(value)
    return {
        section: {
            subject: {
                name: {"median": median(each), "min": min(each), "max": max(each), "rounds": len(each)}
                for name, each in values.items()
            }
            for subject, values in rows.items()
        }
        for section, rows in found.items()
    }


def show(console: Console, summary: Summary) -> None:
    """Print every table that has rows."""
    for layout in LAYOUTS:
        rows = summary.get(layout.section)
        if not rows:
            continue
        table = Table(title=layout.title, title_justify="left", title_style="bold", header_style="dim")
        table.add_column("", no_wrap=True)
        columns = [each for each in layout.columns if isinstance(each, Column) or each.peer in rows]
        for column in columns:
            title = column.title if isinstance(column, Column) else f"x {column.title or column.peer}"
            table.add_column(title, justify="right")
        for subject in layout.rows:
            if subject in rows:
                table.add_row(subject, *(_cell(rows, subject, column) for column in columns))
        console.print(table)


def _cell(rows: dict[str, dict[str, dict[str, float]]], subject: str, column: Column | Ratio) -> str:
    value = rows[subject].get(column.name)
    if value is None:
        return ""
    if isinstance(column, Ratio):
        peer = rows.get(column.peer, {}).get(column.name)
        if peer is None:
            return ""
        ratio = value["median"] / peer["median"]
        doubt = "~" if _restless(value) or _restless(peer) else ""
        return doubt + _times(ratio if column.higher_is_better else 1 / ratio)
    text = f"{value['median']:.{column.digits}f}"
    if column.spread and value["rounds"] > 1:
        text += f" ({value['min']:.{column.digits}f}-{value['max']:.{column.digits}f})"
    return text


def _times(ratio: float) -> str:
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}"


def _restless(value: dict[str, float]) -> bool:
    """Tell whether the rounds disagree so much that a ratio of medians is a guess."""
    return value["max"] > RESTLESS * value["min"]


def machine() -> dict[str, Any]:
    """Describe what the numbers belong to."""
    server = find_server()
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis": ".".join(map(str, server.version)),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def show_facts(console: Console, facts: dict[str, Any]) -> None:
    """Print the machine, and what went wrong."""
    found = facts["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    before, after = (facts["load_average"][when][0] for when in ("before", "after"))
    lines = (
        f"{found['cores']} cores, {found['cpu']}, {found['system']}, Python {found['python']}",
        f"Redis {found['redis']} with appendfsync always; {libraries}",
        f"mean JSON text {facts.get('body_bytes_mean', '-')} bytes; load average before {before:.2f}, after {after:.2f}",
        f"other programs took {facts['others_cpu_share']:.0%} of all CPU time meanwhile; took {facts['took_s']:.0f} s",
        f"median (min-max) over the rounds; x: times better than that peer; ~: the rounds differ by {RESTLESS}x or more",
        *(f"NOT MEASURED: {trouble}" for trouble in facts["troubles"]),
    )
    for line in lines:
        console.print(line, markup=False, highlight=False)
