"""What a load needs: ``python -m tests.bench.sizing --per-second 50 --per-day 200000``.

The formulas of ``deploy/capacity.md`` with the figures of its table, which it reads: change a figure there, and this
says what it means. Each argument is one column, in order. ``--scale`` prints the tables of ``docs/scale.md`` instead: what
breaks first, and what 1, 1,000 and 100,000 callbacks per second need.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.processes import ROOT

PAGE: Final = ROOT / "deploy" / "capacity.md"
HEADING: Final = "## Figures\n"
"""Of the section with the table."""

BUSY: Final = 0.6
"""How busy a core may be."""

FULL: Final = 0.8
"""Share of maxmemory from which on ingress spools."""

REDIS_BYTES: Final = 10e6
"""Of a Redis that holds nothing yet."""

FILE_FACTOR: Final = 3
"""Disk for the append-only file over the memory in use: it doubles before it is rewritten, beside the new one."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be carried."""

    per_s: float
    """Callbacks per second in the busiest minute."""
    per_day: float
    days: int = 14
    """Retention."""
    outage_s: float = 3600.0
    """Workers away, or broker away."""
    action_s: float = 0.02
    share: float = 0.2
    """Of the events that have an action that takes that long."""
    hosts: int = 2
    """With ``web``."""


def figures(page: str) -> dict[str, float]:
    """Return sign -> value of the page's table: several in one row stand in order, parted by semicolons."""
    found: dict[str, float] = {}
    section = page.partition(HEADING)[2].partition("\n## ")[0]
    for signs, values in re.findall(r"^\| (`[^|]+`) \|[^|]*\| ([^|]*) \|", section, re.MULTILINE):
        for sign, value in zip(re.findall(r"`(\w+)`", signs), values.split(";"), strict=False):
            found[sign] = float(value.strip().replace(",", ""))
    return found


def size(load: Load, costs: Mapping[str, float]) -> dict[str, str]:
    """Return need -> how much. Pure."""
    rows: dict[str, str] = {}
    rows["cores for `web`"] = f"{load.per_s * costs['c_web'] / 1000 / BUSY:.2f}"
    for stage, title in (("bridge", "bridges"), ("seq", "sequencers")):
        cores = load.per_s * (costs[f"c_{stage}"] - costs[f"r_{stage}"]) / 1000 / BUSY
        rows[title] = f"{_whole(cores)} ({cores:.1g} cores)"
    noop = (costs["c_lane"] - costs["r_lane"]) / 1000
    calls = load.per_s * load.share
    rows["processes of the lane"] = (
        f"{_whole(calls * (noop + load.action_s) / BUSY)} ({calls * noop:.1g} cores beside your action)"
    )
    redis = (
        load.per_s * sum(costs[f"r_{each}"] for each in ("web", "bridge", "seq", "lane", "archive")) / 1000
    )
    rows["Redis's core"] = f"{redis:.0%}"
    waiting = load.per_day / 86_400 * load.outage_s
    kept = load.per_day * (load.days * costs["b_kept"] + costs["b_busy"] / 24)
    memory = REDIS_BYTES + kept + waiting * costs["b_broker"]
    rows["kept events in Redis"] = _bytes(kept)
    rows[f"waiting after {load.outage_s / 60:.0f} min without workers"] = (
        f"{waiting:,.0f} callbacks, {_bytes(waiting * costs['b_broker'])}"
    )
    rows["`maxmemory`"] = _bytes(memory / FULL)
    rows["append-only file grows by"] = (
        _bytes(load.per_s * (costs["f_in"] + costs["f_life"] + costs["f_archive"])) + "/s at the peak"
    )
    rows["disk for it"] = _bytes(FILE_FACTOR * memory)
    spool = load.per_s / load.hosts * load.outage_s * costs["b_spool"]
    rows[f"spool of each of {load.hosts} hosts, {load.outage_s / 60:.0f} min at the peak"] = _bytes(spool)
    rows["drained in"] = f"{load.per_s * load.outage_s / costs['d_spool'] / 60:.1f} min"
    return rows


def _whole(processes: float) -> int:
    return max(1, math.ceil(processes))


def _bytes(amount: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= factor:
            return f"{amount / factor:,.1f} {unit}"
    return f"{amount:.0f} B"


def table(loads: Sequence[Load], costs: Mapping[str, float]) -> str:
    """Return a Markdown table, a column per load."""
    columns = [size(load, costs) for load in loads]
    head = "".join(f" {load.per_s:,.0f}/s at the peak, {load.per_day:,.0f} a day |" for load in loads)
    rows = [f"| {need} | " + " | ".join(column[need] for column in columns) + " |" for need in columns[0]]
    return "\n".join(["| |" + head, "|---" * (1 + len(loads)) + "|", *rows])


def main() -> int:
    """Print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sizing", description=__doc__)
    parser.add_argument("--per-second", type=float, nargs="+", default=[50, 1000], help="at the peak")
    parser.add_argument("--per-day", type=float, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--days", type=int, default=14, help="retention")
    parser.add_argument("--outage-s", type=float, default=3600.0)
    parser.add_argument("--action-s", type=float, default=0.02)
    parser.add_argument("--share", type=float, default=0.2, help="of the events that have this action")
    parser.add_argument("--hosts", type=int, default=2, help="with web processes")
    parser.add_argument("--scale", action="store_true", help="past one Redis: the tables of docs/scale.md")
    asked = parser.parse_args()
    if asked.scale:
        from tests.bench import scale  # which sizes with the constants of this module

        sys.stdout.write(scale.report(scale.RATES, scale.World(), figures(PAGE.read_text("utf-8"))) + "\n")
        return 0
    if len(asked.per_second) != len(asked.per_day):
        parser.error("as many --per-day as --per-second")
    more = (asked.days, asked.outage_s, asked.action_s, asked.share, asked.hosts)
    loads = [
        Load(per_s, per_day, *more) for per_s, per_day in zip(asked.per_second, asked.per_day, strict=True)
    ]
    sys.stdout.write(table(loads, figures(PAGE.read_text("utf-8"))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
