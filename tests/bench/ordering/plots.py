"""The order comparison's plots. matplotlib without its global state; each figure as SVG and PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tests.bench.ordering.cells import BOUNDS_S, Cell, Policy, Subject, Tallies
from tests.bench.ordering.measures import quantile
from tests.bench.ordering.traffic import Kind

COLOURS: Final[Mapping[Policy, str]] = {
    Policy.DEEDBOX: "#1f5fbf",
    Policy.FIXED: "#d1662b",
    Policy.NO_WAIT: "#555555",
    Policy.HINDSIGHT: "#9aa5b1",
}
MARKERS: Final[Mapping[Policy, str]] = {
    Policy.DEEDBOX: "o",
    Policy.FIXED: "s",
    Policy.NO_WAIT: "X",
    Policy.HINDSIGHT: "",
}
_ROW_TITLES: Final = {Kind.PROVABLE: "provable traffic", Kind.MIXED: "mixed traffic"}
_TICKS_S: Final = {0.0: "0", 0.01: "10 ms", 0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 60.0: "60 s"}
_RATES: Final = {0.0: "0", 1.0: "1", 10.0: "10", 100.0: "100"}
_GREY: Final = "#666666"
_SHARES: Final = [number / 500 for number in range(1, 501)]
"""Points of a distribution's curve: all its events would make megabytes of SVG."""


def trade_off(cells: Sequence[Cell], strengths: Sequence[str], out: Path) -> list[Path]:
    """Plot inversions against mean added latency: a row per kind of traffic, a panel per strength."""
    figure = Figure(figsize=(3.3 * len(strengths) + 0.6, 6.6), layout="constrained")
    grid: Any = figure.subplots(len(Kind), len(strengths), sharex=True, sharey=True, squeeze=False)
    for row, kind in zip(grid, Kind, strict=True):
        for axes, strength in zip(row, strengths, strict=True):
            (cell,) = (each for each in cells if each.kind is kind and each.strength == strength)
            _trade_off_panel(axes, cell)
        row[0].set_ylabel(f"{_ROW_TITLES[kind]}\n\ninverted events per 1,000")
    for axes, strength in zip(grid[0], strengths, strict=True):
        axes.set_title(f"delayed: {strength}", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("mean added latency")
    handles = [
        Line2D([], [], color=COLOURS[policy], marker=MARKERS[policy], linewidth=1.6, label=str(policy))
        for policy in (Policy.NO_WAIT, Policy.FIXED, Policy.DEEDBOX, Policy.HINDSIGHT)
    ]
    handles[0].set_linestyle("")
    handles[3].set_linestyle("--")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(
        "Order and its price, lives of seconds, minutes and hours together: nearer to the lower left is better",
        x=0.01,
        ha="left",
        weight="bold",
    )
    return _saved(figure, out, "order-trade-off")


def _trade_off_panel(axes: Any, cell: Cell) -> None:
    came = cell.unordered
    axes.set_xscale("symlog", linthresh=0.01, linscale=0.5)
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    axes.axhline(came.inverted, color=COLOURS[Policy.NO_WAIT], linewidth=0.7, linestyle=":", zorder=1)
    axes.plot(
        [0], [came.inverted], color=COLOURS[Policy.NO_WAIT], marker="X", markersize=8, zorder=4, clip_on=False
    )
    for policy in (Policy.HINDSIGHT, Policy.FIXED, Policy.DEEDBOX):
        rows = [cell.under(policy, bound_s) for bound_s in BOUNDS_S]
        axes.plot(
            [each.mean_s for each in rows], [each.inverted for each in rows], color=COLOURS[policy],
            marker=MARKERS[policy], markersize=6, linewidth=1.6, zorder=3 if policy is Policy.DEEDBOX else 2,
            linestyle="--" if policy is Policy.HINDSIGHT else "-", clip_on=False,
        )  # fmt: skip
        if policy is Policy.FIXED:
            for bound_s, each in zip(BOUNDS_S, rows, strict=True):
                axes.annotate(
                    f"{bound_s:g} s", (each.mean_s, each.inverted), xytext=(5, 5), textcoords="offset points",
                    ha="left", fontsize=8, color=COLOURS[policy], annotation_clip=False,
                )  # fmt: skip
    axes.set_xticks(list(_TICKS_S), list(_TICKS_S.values()), fontsize=8)
    axes.set_yticks(list(_RATES), list(_RATES.values()), fontsize=8)
    axes.minorticks_off()
    axes.set_xlim(0, 160)
    axes.set_ylim(0, 400)
    _plain(axes)


def latency(pooled: Mapping[Kind, Tallies], strength: str, out: Path) -> list[Path]:
    """Plot the distribution of the added latency: a panel per kind of traffic."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    row: Any = figure.subplots(1, len(Kind), sharey=True)
    styles = dict(zip(BOUNDS_S, (":", "--", "-"), strict=True))
    for axes, kind in zip(row, Kind, strict=True):
        axes.set_xscale("symlog", linthresh=0.01, linscale=0.5)
        for policy in (Policy.FIXED, Policy.DEEDBOX):
            for bound_s in BOUNDS_S:
                added = pooled[kind][Subject(policy, bound_s)].added()
                axes.plot(
                    [added[0], *(quantile(added, share) for share in _SHARES)], [0.0, *_SHARES],
                    color=COLOURS[policy], linewidth=1.8, linestyle=styles[bound_s], clip_on=False,
                    label=f"{policy}, {bound_s:g} s",
                )  # fmt: skip
        axes.set_xticks(list(_TICKS_S), list(_TICKS_S.values()), fontsize=8)
        axes.minorticks_off()
        axes.set_xlim(0, 160)
        axes.set_ylim(0, 1.01)
        axes.set_title(_ROW_TITLES[kind], fontsize=10)
        axes.set_xlabel("added latency")
        _plain(axes)
    row[0].set_ylabel("share of the events")
    row[-1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    figure.suptitle(
        f"What ordering adds to each event (delayed: {strength})", x=0.01, ha="left", weight="bold"
    )
    return _saved(figure, out, "order-latency")


def _plain(axes: Any) -> None:
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_GREY, length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")


def _saved(figure: Figure, out: Path, name: str) -> list[Path]:
    paths = [out / f"{name}.svg", out / f"{name}.png"]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths
