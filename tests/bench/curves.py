"""Plots: medians as lines or bars, the range over the repetitions as a band; one SVG and one PNG each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Axes:
    """What a plot is about."""

    title: str
    x: str
    y: str


def plot(target: Path, axes: Axes, curves: Mapping[str, Sequence[tuple[float, Spread]]]) -> list[Path]:
    """Draw curves over a logarithmic x axis; ``target`` is a path without its suffix. Returns the files."""
    figure, plane = _plane(axes)
    for name, points in curves.items():
        xs = [x for x, _ in points]
        (line,) = plane.plot(xs, [found.median for _, found in points], marker="o", label=name)
        plane.fill_between(
            xs, [found.low for _, found in points], [found.high for _, found in points],
            color=line.get_color(), alpha=0.15, linewidth=0,
        )  # fmt: skip
    plane.set_xscale("log")
    plane.set_ylim(bottom=0)
    plane.legend()
    return _save(figure, target)


def bars(target: Path, axes: Axes, heights: Mapping[str, Spread]) -> list[Path]:
    """Draw a bar each, on a logarithmic y axis, with its median on top. Returns the files."""
    figure, plane = _plane(axes)
    drawn = plane.bar(list(heights), [found.median for found in heights.values()], width=0.5)
    plane.bar_label(drawn, [f"{found.median:.3g}" for found in heights.values()])
    plane.set_yscale("log")
    return _save(figure, target)


def _plane(axes: Axes) -> tuple[Any, Any]:
    # Not at the top: it is slow to import, and only the benchmark's extra brings it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    plane = figure.subplots()
    plane.set_title(axes.title)
    plane.set_xlabel(axes.x)
    plane.set_ylabel(axes.y)
    plane.grid(visible=True, alpha=0.3)
    return figure, plane


def _save(figure: Any, target: Path) -> list[Path]:
    files = [target.with_suffix(suffix) for suffix in (".svg", ".png")]
    for file in files:
        figure.savefig(file, dpi=120)
    return files
