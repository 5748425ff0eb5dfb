"""The dashboard's charts: samples put into equal steps of time, with a sentence for each. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deedbox.ops.charts.sampling import quantile_ms
from deedbox.shared.records.sample import Sample
from deedbox.shared.redis import keys

POINTS: Final = 360
"""Points of a chart at most: one per two pixels of a wide screen."""

HOURS: Final = (1, 6, 24)
STEP_S: Final = 10.0
SPAN_MIN_S: Final = 600.0
"""What is shown at least, so that a first minute looks like the beginning that it is."""

SPAN_MAX_S: Final = 60.0
"""A sample that covers more than this came after an outage of ops: when in it something happened is unknown."""

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    name: str
    label: str
    values: Values


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: lines over the same times."""

    name: str
    title: str
    unit: str
    series: list[Series]
    hint: str = ""

    @property
    def summary(self) -> str:
        """Say in a sentence what the picture shows."""
        if all(value is None for line in self.series for value in line.values):
            return "Nothing has been recorded in this time."
        told = [said for line in self.series if (said := _told(line, self.unit))]
        return "; ".join(told) + "." if told else "Zero all the time."


@dataclass(frozen=True, slots=True)
class ChartPage:
    """All charts of a span."""

    hours: int
    step_s: float
    times: list[float]
    """Unix seconds of the end of each step."""
    charts: list[Chart] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "hours": self.hours,
            "step_s": self.step_s,
            "times": self.times,
            "charts": [
                {
                    "name": chart.name,
                    "unit": chart.unit,
                    "summary": chart.summary,
                    "series": [{"name": s.name, "label": s.label, "values": s.values} for s in chart.series],
                }
                for chart in self.charts
            ],
        }


_STAGES: Final[Mapping[str, str]] = {
    "broker": "Broker", "inbox": "Inbox", "held": "Held", "lanes": "Lanes", "retrying": "Retrying", "dead": "Dead",
    "spool": "Spool",
}  # fmt: skip
_RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Accepted": ("accepted",),
    "Released": ("released", "late"),
    "Calls done": ("action_done",),
}
_ODD: Final[Mapping[str, tuple[str, ...]]] = {
    "Duplicates": ("duplicate",),
    "Late": ("late",),
    "Retries": ("action_retry",),
    "Dead letters": ("action_dead",),
}


def page(samples: Sequence[Sample], hours: int, now: float) -> ChartPage:
    """Make all charts of the last ``hours`` up to ``now`` (unix seconds); they begin where the samples begin."""
    first_at = samples[0].at if samples else now
    span_s = min(hours * 3600.0, max(SPAN_MIN_S, now - first_at + STEP_S))
    step_s = math.ceil(span_s / POINTS / STEP_S) * STEP_S
    steps: dict[int, list[Sample]] = {}
    for each in samples:
        steps.setdefault(math.ceil(each.at / step_s), []).append(each)
    last = math.ceil(now / step_s)
    order = range(
        last - round(span_s / step_s), last + (last in steps)
    )  # the newest sample may be still to come
    groups = [steps.get(index, []) for index in order]
    return ChartPage(hours, step_s, [index * step_s for index in order], _charts(groups))


def _charts(groups: Sequence[list[Sample]]) -> list[Chart]:
    def lines(make: Callable[[str], Callable[[list[Sample]], float | None]]) -> list[Series]:
        return [
            Series(name, label, [make(name)(group) for group in groups]) for name, label in _STAGES.items()
        ]

    def rates(named: Mapping[str, tuple[str, ...]], per_s: float) -> list[Series]:
        return [
            Series(label.lower().replace(" ", "-"), label, [_rate(group, names, per_s) for group in groups])
            for label, names in named.items()
        ]

    reasons = sorted({reason for group in groups for each in group for reason in each.refused})
    refused = [Series(r, r, [_refusals(group, r) for group in groups]) for r in reasons]
    acks = [Series(f"p{p}", f"p{p}", [_ack(group, p / 100) for group in groups]) for p in (50, 99)]
    return [
        Chart("rate", "Throughput", "per second", rates(_RATES, 1.0),
              "Accepted: taken by ingress. Released: passed to actions, in order. Calls done: action calls that succeeded."),
        Chart("depth", "Depth", "", lines(_depth), "How much waits in each stage."),
        Chart("age", "Oldest age", "s", lines(_age), "How long the oldest item of each stage has waited."),
        Chart("ack", "Time to an acknowledgement", "ms", acks, "Dropbox Sign waits for 25 seconds."),
        Chart("odd", "Out of the ordinary", "per minute", rates(_ODD, 60.0)),
        Chart("refused", "Refusals by reason", "per minute", refused),
    ]  # fmt: skip


def _depth(stage: str) -> Callable[[list[Sample]], float | None]:
    return lambda group: _most([sum(found) for each in group if (found := _of(each.depth, stage))])


def _age(stage: str) -> Callable[[list[Sample]], float | None]:
    def age(group: list[Sample]) -> float | None:
        known = [each for each in group if _of(each.depth, stage)]
        return _most([max(_of(each.age_s, stage), default=0.0) for each in known])

    return age


def _of(by_stage: Mapping[str, float], stage: str) -> list[float]:
    """Return the values that belong to a line."""
    if stage == "lanes":
        # The sequencer's queues are the inbox.
        lanes = (name for name in by_stage if name.startswith("lane:") and name != f"lane:{keys.SEQUENCER}")
        return [by_stage[name] for name in lanes]
    names = ("broker", "claimed") if stage == "broker" else (stage,)
    return [by_stage[name] for name in names if name in by_stage]


def _rate(group: list[Sample], names: tuple[str, ...], per_s: float) -> float | None:
    counted = [each for each in group if each.span_s and each.span_s <= SPAN_MAX_S]
    span_s = sum(each.span_s or 0.0 for each in counted)
    if not span_s:
        return None
    return round(sum(each.happened.get(n, 0) for each in counted for n in names) / span_s * per_s, 3)


def _refusals(group: list[Sample], reason: str) -> float | None:
    counted = [each for each in group if each.span_s and each.span_s <= SPAN_MAX_S]
    span_s = sum(each.span_s or 0.0 for each in counted)
    return round(sum(each.refused.get(reason, 0) for each in counted) / span_s * 60, 3) if span_s else None


def _ack(group: list[Sample], share: float) -> float | None:
    bounds = next((each.bounds_ms for each in group if each.acks), ())
    fitting = [each.acks for each in group if each.acks and list(each.bounds_ms) == list(bounds)]
    return quantile_ms(bounds, [sum(column) for column in zip(*fitting, strict=False)], share)


def _most(values: Sequence[float]) -> float | None:
    return max(values, default=None)


def _told(line: Series, unit: str) -> str:
    known = [value for value in line.values if value is not None]
    if not any(known):
        return ""
    return f"{line.label} {_number(known[-1])} now, at most {_number(max(known))} {unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004 - whole numbers are precise enough
