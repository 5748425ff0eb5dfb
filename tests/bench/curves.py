"""Plots of curves: medians as a line, the range over the repetitions as a band; one SVG and one PNG each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Axes:
    """What a plot is about."""

    title: str
    x: str
    y: str


def plot(target: Path, axes: Axes, curves: Mapping[str, Sequence[tuple[float, Spread]]]) -> list[Path]:
    """Draw curves over a logarithmic x axis; ``target`` is a path without its suffix. Returns the files."""
    # Not at the top: it is slow to import and only the benchmark's extra brings it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    plane = figure.subplots()
    for name, points in curves.items():
        xs = [x for x, _ in points]
        (line,) = plane.plot(xs, [found.median for _, found in points], marker="o", label=name)
        plane.fill_between(
            xs, [found.low for _, found in points], [found.high for _, found in points],
            color=line.get_color(), alpha=0.15, linewidth=0,
        )  # fmt: skip
    plane.set_xscale("log")
    plane.set_ylim(bottom=0)
    plane.set_title(axes.title)
    plane.set_xlabel(axes.x)
    plane.set_ylabel(axes.y)
    plane.grid(visible=True, alpha=0.3)
    plane.legend()
    files = [target.with_suffix(suffix) for suffix in (".svg", ".png")]
    for file in files:
        figure.savefig(file, dpi=120)
    return files
