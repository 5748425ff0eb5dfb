"""What the order comparison prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.bench.ordering.cells import BOUNDS_S, CHEAPER, EXPLAINED, Cell, Policy, Verdict
from tests.bench.ordering.traffic import Kind

_TITLES = {
    Kind.PROVABLE: "Order, provable traffic: sent, one view and signature per signer, all_signed, downloadable",
    Kind.MIXED: "Order, traffic with reminders, repeated views, declines, cancellations, early copies, resends",
}

_LEGEND = (
    "inverted events per 1,000 (out after one of their request with a later event_time): as they came, fixed wait, Deedbox",
    "delayed: share of the deliveries and mean of their exponential delays; long tail: Pareto; retried: after 5 minutes or more",
    "mean s: Deedbox's added latency, * where its p50 is above 0 too; x: so many times less than the fixed wait's",
)


_PARTS = {
    "order": "no more inversions than the fixed wait",
    "median": "p50 added latency 0",
    "mean": f"mean at most 1/{CHEAPER} of the fixed wait's",
}


def show(console: Console, cells: Sequence[Cell]) -> None:
    """Print a table per kind of traffic, then how the target fares on provable traffic."""
    for kind in Kind:
        console.print(_table(kind, [cell for cell in cells if cell.kind is kind]))
    for line in _LEGEND:
        console.print(f"[dim]{line}[/dim]", highlight=False)
    provable = [cell for cell in cells if cell.kind is Kind.PROVABLE]
    for line in target_lines(target(provable)):
        console.print(line, highlight=False, markup=False)
    found = [(cell, bound_s, cell.verdict(bound_s)) for cell in provable for bound_s in BOUNDS_S]
    misses = [miss for miss in found if not miss[2].met]
    if misses:
        console.print(_misses(misses))
        for cause, meaning in EXPLAINED.items():
            console.print(f"[dim]{cause}: {meaning}[/dim]", highlight=False)


def _new_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )


def _table(kind: Kind, cells: Iterable[Cell]) -> Table:
    table = _new_table(_TITLES[kind])
    for name in ("lives of", "delayed"):
        table.add_column(name, no_wrap=True)
    table.add_column("as they\ncame", justify="right")
    for bound_s in BOUNDS_S:
        for name in (f"{bound_s:g} s:\nfixed", "\nDeedbox", "\nmean s", "\nx"):
            table.add_column(name, justify="right", no_wrap=True)
    pace = None
    for cell in cells:
        row = [cell.pace if cell.pace != pace else "", cell.strength, f"{cell.unordered.inverted:.1f}"]
        if pace not in {None, cell.pace}:
            table.add_section()
        pace = cell.pace
        for bound_s in BOUNDS_S:
            ours, fixed = cell.under(Policy.DEEDBOX, bound_s), cell.under(Policy.FIXED, bound_s)
            row += [
                f"{fixed.inverted:.1f}",
                f"{ours.inverted:.1f}",
                f"{ours.mean_s:.3f}{'*' if ours.p50_s else ''}",
                f"{cell.times_cheaper(bound_s):.0f}",
            ]
        table.add_row(*row)
    return table


def losses(found: Mapping[float, tuple[Sequence[Cell], Cell]]) -> Table:
    """Show what callbacks that never come cost: each share of them, under each bound."""
    table = _new_table("Lost callbacks, provable traffic, every life and strength together")
    for name in (
        "lost", "bound\ns", "inverted:\nfixed / Deedbox", "mean s:\nfixed / Deedbox /\nhindsight", "of the\nfixed",
        "cells: no more\ninversions", f"mean at most\n1/{CHEAPER}",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for share, (cells, whole) in found.items():
        for bound_s in BOUNDS_S:
            fixed, ours, least = (
                whole.under(policy, bound_s) for policy in (Policy.FIXED, Policy.DEEDBOX, Policy.HINDSIGHT)
            )
            verdicts = [cell.verdict(bound_s) for cell in cells]
            table.add_row(
                f"{share:.0%}",
                f"{bound_s:g}",
                f"{fixed.inverted:.2f} / {ours.inverted:.2f}",
                f"{fixed.mean_s:.2f} / {ours.mean_s:.2f} / {least.mean_s:.2f}",
                f"{ours.mean_s / fixed.mean_s:.1%}",
                f"{sum(each.order for each in verdicts)} of {len(cells)}",
                f"{sum(not each.mean for each in verdicts)} of {len(cells)}",
            )
    return table


def target(cells: Sequence[Cell]) -> dict[str, Any]:
    """Count in how many cells (a traffic under one bound) the target and its parts are met, and why not elsewhere."""
    every = [(cell, bound_s) for cell in cells for bound_s in BOUNDS_S]
    verdicts = [cell.verdict(bound_s) for cell, bound_s in every]
    causes = {
        "median": [each.median for each in verdicts],
        "mean": [each.mean for each in verdicts],
    }
    whole = [each for each in every if each[0].under(Policy.FIXED, each[1]).inverted == 0]
    ratios = sorted(cell.times_cheaper(bound_s) for cell, bound_s in whole)
    return {
        "cells": len(every),
        "met": sum(each.met for each in verdicts),
        "order": sum(each.order for each in verdicts),
        **{name: found.count(None) for name, found in causes.items()},
        "missed": {
            name: dict(Counter(str(each) for each in found if each)) for name, found in causes.items()
        },
        "wholly_ordered": {
            "by_fixed_wait": len(whole),
            "by_deedbox": sum(cell.under(Policy.DEEDBOX, bound_s).inverted == 0 for cell, bound_s in whole),
            "times_cheaper": [round(min(each, 1e9), 1) for each in (ratios[0], median(ratios))]
            if ratios
            else [],
        },
    }


def target_lines(found: dict[str, Any]) -> list[str]:
    """Say what ``target`` counted."""
    lines = [f"target met in {found['met']} of {found['cells']} cells of provable traffic"]
    for name, what in _PARTS.items():
        why = "; ".join(f"{count} x {cause}" for cause, count in found["missed"].get(name, {}).items())
        lines.append(f"  {what}: {found[name]}{f' (else: {why})' if why else ''}")
    whole = found["wholly_ordered"]
    if whole["by_fixed_wait"]:
        least, middle = whole["times_cheaper"]
        lines.append(
            f"the fixed wait leaves no inversion in {whole['by_fixed_wait']} of them, Deedbox none in "
            f"{whole['by_deedbox']} of these, for {least:.0f} times less added latency (median {middle:.0f})"
        )
    return lines


def _misses(misses: Iterable[tuple[Cell, float, Verdict]]) -> Table:
    table = _new_table("Where the target is missed on provable traffic")
    for name in ("lives of", "delayed"):
        table.add_column(name, no_wrap=True)
    table.add_column("bound\ns", justify="right", no_wrap=True)
    table.add_column("inverted:\nfixed /\nDeedbox", justify="right", no_wrap=True)
    table.add_column("mean s:\nfixed / Deedbox /\nhindsight", justify="right", no_wrap=True)
    table.add_column("p50 s:\nDeedbox /\nhindsight", justify="right", no_wrap=True)
    table.add_column("why", no_wrap=True)
    for cell, bound_s, verdict in misses:
        fixed, ours, least = (
            cell.under(policy, bound_s) for policy in (Policy.FIXED, Policy.DEEDBOX, Policy.HINDSIGHT)
        )
        parts = (("p50", verdict.median), ("mean", verdict.mean))
        why = [f"{name}: {cause}" for name, cause in parts if cause]
        table.add_row(
            cell.pace,
            cell.strength,
            f"{bound_s:g}",
            f"{fixed.inverted:.2f} / {ours.inverted:.2f}",
            f"{fixed.mean_s:.2f} / {ours.mean_s:.2f} / {least.mean_s:.2f}",
            f"{ours.p50_s:.2f} / {least.p50_s:.2f}" if verdict.median else "0",
            ", ".join(why if verdict.order else ["order", *why]),
        )
    return table
