"""Plots of a run, SVG and PNG: bars of medians with the range over the rounds, and the distribution of latency.

One colour per family of subjects in all of them. Axes are linear from zero but for latency, whose tail is the point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tests.bench import end_to_end, ingress, latency, memory, subjects
from tests.bench.report import Summary
from tests.bench.room import Sample

_STYLE: Final = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#222222",
    "grid.color": "#e6e6e6",
    "svg.fonttype": "none",
    "svg.hashsalt": "deedbox",
}

_COLOURS: Final = (
    ("Deedbox", "#1d5fa8"),
    ("Flask + rq worker", "#a9561a"),
    ("RQ", "#e0893a"),
    ("Flask + RQ", "#e0893a"),
    ("Flask + Celery", "#6f9c3d"),
    ("FastAPI + taskiq", "#8a67b0"),
    ("Flask, ack", "#a6a6a6"),
)
"""Beginning of a subject's name to its colour; the first that fits."""

_PARTS: Final = (("ingress", 1.0), ("workers", 0.65), ("redis", 0.35))
"""Parts of the CPU time and the opacity of each."""

_PLAIN: Final = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""Behind a number, so that no line crosses it."""

Row = dict[str, dict[str, float]]


def colour(subject: str) -> str:
    """Return a subject's colour."""
    return next((found for begin, found in _COLOURS if subject.startswith(begin)), "#a6a6a6")


def draw(out: Path, summary: Summary, samples: Iterable[Sample]) -> list[Path]:
    """Write the plots of all sections that were measured. Returns the PNG files."""
    drawn: list[Path] = []
    with plt.rc_context(_STYLE):
        if ingress.KEPT in summary:
            drawn.append(_saved(_ingress(summary), out / "ingress"))
        if end_to_end.SECTION in summary:
            drawn.append(_saved(_end_to_end(summary), out / "end-to-end"))
        if latency.SECTION in summary:
            drawn.append(_saved(_latency(samples), out / "latency"))
        if memory.SECTION in summary:
            drawn.append(_saved(_memory(summary), out / "memory"))
    return drawn


def _saved(figure: Figure, stem: Path) -> Path:
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=150)
    plt.close(figure)
    return stem.with_suffix(".png")


def _panels(rows: int, count: int, *, shared: bool = True) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(
        1, count, figsize=(10, 0.9 + 0.42 * rows), sharey=shared, layout="constrained", squeeze=False
    )  # fmt: skip
    return figure, list(axes[0])


def _bars(
    axes: Axes, rows: dict[str, Row], order: Sequence[str], name: str, text: Callable[[float], str]
) -> None:
    """Draw a bar per subject, best first as the order says, with its range and its value."""
    shown = [subject for subject in order if name in rows.get(subject, {})]
    top = max(rows[subject][name]["max"] for subject in shown)
    for place, subject in enumerate(shown):
        value = rows[subject][name]
        middle = value["median"]
        axes.barh(place, middle, height=0.68, color=colour(subject))
        if value["rounds"] > 1:
            reach = [[middle - value["min"]], [value["max"] - middle]]
            axes.errorbar(
                middle, place, xerr=reach, fmt="none", ecolor="#333333", elinewidth=1, capsize=2.5, capthick=1
            )  # fmt: skip
        axes.text(value["max"] + top * 0.02, place, text(middle), va="center", color="#222222", bbox=_PLAIN)
    _finish(axes, shown, top)


def _finish(axes: Axes, shown: Sequence[str], top: float) -> None:
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, top * 1.17)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _ingress(summary: Summary) -> Figure:
    order = (
        subjects.DEEDBOX,
        subjects.FASTAPI_TASKIQ,
        subjects.FLASK_RQ,
        subjects.FLASK_CELERY,
        subjects.FLASK_ACK,
    )
    figure, panels = _panels(len(order), 2)
    titles = {ingress.KEPT: "16 connections kept alive", ingress.CLOSED: "A connection per callback"}
    for axes, (section, title) in zip(panels, titles.items(), strict=True):
        _bars(axes, summary[section], order, "per_s", _count)
        axes.set_title(title)
        axes.set_xlabel("accepted callbacks per second")
    return figure


def _end_to_end(summary: Summary) -> Figure:
    rows = summary[end_to_end.SECTION]
    order = (
        end_to_end.DEEDBOX,
        end_to_end.TASKIQ,
        end_to_end.CELERY,
        end_to_end.RQ_SIMPLE,
        end_to_end.RQ_FORK,
    )
    figure, (rates, cpu) = _panels(len(order), 2)
    _bars(rates, rows, order, "per_s", _count)
    rates.set_title("POST to no-op action")
    rates.set_xlabel("events per second")
    shown = [subject for subject in order if subject in rows]
    top = max(rows[subject]["total_cpu_s_per_1000"]["median"] for subject in shown)
    for place, subject in enumerate(shown):
        left = 0.0
        for part, opacity in _PARTS:
            width = rows[subject][f"{part}_cpu_s_per_1000"]["median"]
            cpu.barh(place, width, left=left, height=0.68, color=colour(subject), alpha=opacity)
            left += width
        total = rows[subject]["total_cpu_s_per_1000"]["median"]
        cpu.text(max(left, total) + top * 0.02, place, f"{total:.2f}", va="center", color="#222222")
    _finish(cpu, shown, top)
    cpu.set_title("CPU seconds per 1,000 events")
    cpu.set_xlabel("dark to light: ingress, workers, Redis")
    return figure


def _latency(samples: Iterable[Sample]) -> Figure:
    waited: dict[str, list[float]] = {}
    for sample in samples:
        if sample.section == latency.SECTION:
            waited.setdefault(sample.subject, []).extend(sample.series["waited_ms"])
    figure: Figure = plt.figure(figsize=(9, 4.2), layout="constrained")
    axes: Axes = figure.add_subplot()
    ends = []
    for subject in (each for each in latency.SUBJECTS if each in waited):
        values = sorted(waited[subject])
        shares = [place / len(values) for place in range(1, len(values) + 1)]
        axes.step(values, shares, where="post", color=colour(subject), linewidth=1.8, label=subject)
        ends.append((values[0], values[int(len(values) * 0.995)]))
    for share in (0.5, 0.99):
        axes.axhline(share, color="#bbbbbb", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.annotate(
            f"p{share * 100:.0f}", (0, share), xycoords=("axes fraction", "data"), xytext=(4, -3),
            textcoords="offset points", color="#888888", fontsize=8.5, va="top",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(low for low, _ in ends) * 0.9, max(high for _, high in ends) * 1.15)
    axes.set_ylim(0, 1.03)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.set_xlabel("ms from the begin of the POST to the begin of its action (log scale)")
    axes.set_title("Latency at 50 callbacks per second: share handled within")
    axes.grid(visible=True)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def _memory(summary: Summary) -> Figure:
    order = (
        memory.INBOX,
        memory.BROKER,
        subjects.FLASK_RQ,
        subjects.FASTAPI_TASKIQ,
        subjects.FLASK_CELERY,
    )
    figure, (waiting, remembered) = _panels(len(order), 2, shared=False)
    _bars(waiting, summary[memory.SECTION], order, "memory_bytes", _count)
    body = max(row["body_bytes"]["median"] for row in summary[memory.SECTION].values())
    waiting.axvline(body, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)))
    waiting.set_title("A callback that waits")
    waiting.set_xlabel(f"bytes of Redis memory (dashed: its JSON text, {body:,.0f})")
    if memory.REMEMBERED in summary:
        _bars(remembered, summary[memory.REMEMBERED], tuple(memory.REMEMBERING), "fact_bytes", _count)
        remembered.set_ylim(waiting.get_ylim())  # bars as high as beside it
        remembered.set_title("A fact that is remembered")
        remembered.set_xlabel("bytes of Redis memory")
    else:
        remembered.remove()
    return figure
