"""What the order comparison prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
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
    "mean s: Deedbox's added latency, * where its p50 is above 0 too; x: so many times less than the fixed wait's",
)


def show(console: Console, cells: Sequence[Cell]) -> None:
    """Print a table per kind of traffic, then how the target fares on provable traffic."""
    for kind in Kind:
        console.print(_table(kind, [cell for cell in cells if cell.kind is kind]))
    for line in _LEGEND:
        console.print(f"[dim]{line}[/dim]", highlight=False)
    provable = [cell for cell in cells if cell.kind is Kind.PROVABLE]
    for line in verdict_lines(provable):
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


def verdict_lines(cells: Sequence[Cell]) -> list[str]:
    """Say how many bounds of how many cells meet the target, and why the others do not."""
    verdicts = [cell.verdict(bound_s) for cell in cells for bound_s in BOUNDS_S]
    parts: list[tuple[str, list[Any]]] = [
        ("no more inversions than the fixed wait", [each.order for each in verdicts]),
        ("p50 added latency 0", [each.median for each in verdicts]),
        (f"mean at most 1/{CHEAPER} of the fixed wait's", [each.mean for each in verdicts]),
    ]
    lines = [
        f"target met in {sum(each.met for each in verdicts)} of {len(verdicts)} cells of provable traffic"
    ]
    for name, causes in parts:
        missed = Counter(str(cause) for cause in causes if cause)
        why = "; ".join(f"{count} x {cause}" for cause, count in missed.most_common())
        lines.append(f"  {name}: {causes.count(None)}{f' (else: {why})' if why else ''}")
    return lines


def _misses(misses: Iterable[tuple[Cell, float, Verdict]]) -> Table:
    table = _new_table("Where the target is missed on provable traffic: fixed wait / Deedbox / hindsight")
    for name in ("lives of", "delayed"):
        table.add_column(name, no_wrap=True)
    for name in ("bound s", "inverted", "by position", "mean s", "p50 s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", no_wrap=True)
    for cell, bound_s, verdict in misses:
        rows = [cell.under(policy, bound_s) for policy in (Policy.FIXED, Policy.DEEDBOX, Policy.HINDSIGHT)]
        parts = (("order", verdict.order), ("p50", verdict.median), ("mean", verdict.mean))
        table.add_row(
            cell.pace,
            cell.strength,
            f"{bound_s:g}",
            " / ".join(f"{each.inverted:.1f}" for each in rows),
            " / ".join(f"{each.behind:.1f}" for each in rows),
            " / ".join(f"{each.mean_s:.2f}" for each in rows),
            " / ".join(f"{each.p50_s:.2f}" for each in rows),
            ", ".join(f"{name}: {cause}" for name, cause in parts if cause),
        )
    return table
