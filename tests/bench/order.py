"""``python -m tests.bench.order [--quick]``: order and what it costs, beside a fixed wait of the same bound.

Simulated callbacks on a virtual clock, the same for every policy: nothing sleeps, so the figures belong to the rule and
not to the machine. Deedbox is its own ordering code (``deedbox.shared.core.ordering``), driven as the sequencer drives it; a
test of the suite holds it against the whole sequencer.

Does not measure: what the pipeline takes (hops, the sweeper's look every 0.25 s, backlogs: other tables show them); how
real networks disorder callbacks, for which these strengths are guesses; ``DEEDBOX_SETTLE_S`` above 0; holds that wait
for a host's spool.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from tests.bench.ordering import plots, tables
from tests.bench.ordering.cells import BOUNDS_S, SUBJECTS, Cell, Tallies, tallied
from tests.bench.ordering.measures import Tally
from tests.bench.ordering.traffic import PACES, STRENGTHS, Kind, Life, lives, streams
from tests.bench.processes import ROOT

NAME: Final = "order"
REQUESTS: Final = 2_000
"""Signature requests per kind and pace: about 16,000 events, so that one event in a thousand is no accident."""

REQUESTS_QUICK: Final = 150
LOST: Final = (0.0, 0.01, 0.05)
"""Shares of the callbacks that never come."""

REQUESTS_LOST: Final = 500
"""Per pace: the lost callbacks are counted over every pace and strength together."""
EVERY_PACE: Final = "every pace"
PLOTTED: Final = ("30 % by 1 s", "30 % by 5 s", "30 % by 30 s", "3 % retried")
PLOTTED_LATENCY: Final = "30 % by 5 s"


@dataclass
class Findings:
    """What a run found."""

    cells: list[Cell] = field(default_factory=list)
    """By kind, pace and strength."""
    pooled: list[Cell] = field(default_factory=list)
    """By kind and strength, over every pace."""
    latencies: dict[Kind, Tallies] = field(default_factory=dict)
    """Of the strength that is plotted."""


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Compare the policies on every traffic. Prints tables, writes plots into ``out``, returns JSON values."""
    begun = time.monotonic()
    requests = REQUESTS_QUICK if quick else REQUESTS
    findings = measured(requests)
    losses = {share: lost(share, min(requests, REQUESTS_LOST)) for share in LOST}
    tables.show(console, findings.cells)
    console.print(tables.losses(losses))
    out.mkdir(parents=True, exist_ok=True)
    written = plots.trade_off(findings.pooled, PLOTTED, out)
    written += plots.latency(findings.latencies, PLOTTED_LATENCY, out)
    provable = [cell for cell in findings.cells if cell.kind is Kind.PROVABLE]
    return {
        "requests_per_kind_and_pace": requests,
        "bounds_s": list(BOUNDS_S),
        "target": tables.target(provable),
        "cells": [cell.as_json() for cell in findings.cells],
        "every_pace": [cell.as_json() for cell in findings.pooled],
        "lost": [{"share": share} | tables.target(cells) for share, (cells, _) in losses.items()],
        "plots": [path.name for path in written],
        "took_s": round(time.monotonic() - begun, 1),
    }


def measured(requests: int) -> Findings:
    """Deliver the same lives through every disorder to every policy."""
    findings = Findings()
    for kind in Kind:
        pooled = {strength.name: {subject: Tally() for subject in SUBJECTS} for strength in STRENGTHS}
        for pace in PACES:
            _measure(kind, pace.name, lives(kind, pace, requests), findings, pooled)
        findings.pooled += [_cell(kind, EVERY_PACE, name, each) for name, each in pooled.items()]
        findings.latencies[kind] = pooled[PLOTTED_LATENCY]
    return findings


def lost(share: float, requests: int) -> tuple[list[Cell], Cell]:
    """Lose callbacks of provable traffic. Returns a cell for each pace and strength, and one of all together."""
    cells: list[Cell] = []
    pooled = {subject: Tally() for subject in SUBJECTS}
    for pace in PACES:
        found = lives(Kind.PROVABLE, pace, requests)
        for strength in STRENGTHS:
            tallies = tallied(streams(found, strength, lost_share=share))
            cells.append(_cell(Kind.PROVABLE, pace.name, strength.name, tallies))
            for subject, tally in tallies.items():
                pooled[subject].merge(tally)
    return cells, _cell(Kind.PROVABLE, EVERY_PACE, "every strength", pooled)


def _measure(
    kind: Kind, pace: str, found: Sequence[Life], findings: Findings, pooled: dict[str, Tallies]
) -> None:
    for strength in STRENGTHS:
        tallies = tallied(streams(found, strength))
        findings.cells.append(_cell(kind, pace, strength.name, tallies))
        for subject, tally in tallies.items():
            pooled[strength.name][subject].merge(tally)


def _cell(kind: Kind, pace: str, strength: str, tallies: Tallies) -> Cell:
    return Cell(kind, pace, strength, {subject: tally.summary() for subject, tally in tallies.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this comparison alone. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.order", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests, some seconds")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    out = ROOT / "var" / "bench" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    results = run(quick=options.quick, out=out, console=console)
    (out / "order.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console.print(f"[dim]results: {out.relative_to(ROOT)}, in {results['took_s']} s[/dim]", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
