"""Turns a reading into Prometheus's families. Without Redis there is still an answer: that Redis is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from deedbox.ops.metrics import catalogue as names
from deedbox.ops.metrics.catalogue import Family, Figure
from deedbox.ops.metrics.reading import Calls, Reading
from deedbox.shared.core.attempts import CALL_BOUNDS_S
from deedbox.shared.core.errors import DeedboxError
from deedbox.shared.core.reasons import DeathReason, Refusal
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.core.signature import BodySignature

_BOUNDS: Final = (*(str(float(bound)) for bound in CALL_BOUNDS_S), "+Inf")

_OUTCOMES: Final = ("done", "retry", "error", "timeout", "dead")

Sample = tuple[tuple[str, ...], float]


class StateCollector(Collector):
    """Reads at each scrape."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        """``read`` raises a DeedboxError if the state cannot be read."""
        self._read = read

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        try:
            reading = self._read()
        except DeedboxError:
            yield _filled(names.UP, [((), 0.0)])
            yield from _always()
            return
        yield _filled(names.UP, [((), 1.0)])
        yield from _always()
        yield _filled(names.BROKER_UP, [((), float(not reading.status.view.trouble))])
        yield from _stages(reading)
        yield from _counters(reading)
        yield from _actions(reading)
        yield from _processes(reading)
        yield from _sources(reading)
        yield from _api(reading)


def _always() -> Iterator[Family]:
    yield _filled(names.BUILD_INFO, [((version("deedbox"),), 1.0)])


def _filled(figure: Figure, samples: Iterable[Sample]) -> Family:
    family = figure.family()
    if isinstance(family, HistogramMetricFamily):
        raise TypeError("histograms are filled by their buckets")
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _stages(reading: Reading) -> Iterator[Family]:
    stages = reading.status.stages
    # Unknown values are left out: a zero would be a claim.
    yield _filled(
        names.STAGE_DEPTH, [((name,), s.depth) for name, s in stages.items() if s.depth is not None]
    )
    yield _filled(
        names.STAGE_AGE,
        [((name,), s.oldest_age_s or 0.0) for name, s in stages.items() if s.oldest_age_s or s.depth == 0],
    )
    yield _filled(names.SPOOL_BYTES, [((), reading.status.survey.spools.size_bytes)])


def _counters(reading: Reading) -> Iterator[Family]:
    counters = reading.status.survey.counters
    for name, figure in names.SIMPLE.items():
        yield _filled(figure, [((), counters.get(name, 0))])
    for figure, prefix, values in (
        (names.HOLDS_ENDED, "hold_", ("satisfied", "expired")),
        (names.BODY_SIGNATURES, "body_signature_", tuple(map(str, BodySignature))),
        (names.DEAD_LETTERS, "dead_", tuple(map(str, DeathReason))),
    ):
        yield _filled(figure, [((value,), counters.get(prefix + value, 0)) for value in values])


def _actions(reading: Reading) -> Iterator[Family]:
    rows = sorted(reading.calls.items())
    yield _filled(
        names.CALLS,
        [((*name, outcome), calls.outcomes.get(outcome, 0)) for name, calls in rows for outcome in _OUTCOMES],
    )
    family = names.DURATION.family()
    if isinstance(family, HistogramMetricFamily):
        for name, calls in rows:
            family.add_metric(name, _cumulative(calls), calls.sum_s)
    yield family


def _cumulative(calls: Calls) -> list[tuple[str, float]]:
    return list(zip(_BOUNDS, map(float, accumulate(calls.buckets)), strict=True))


def _processes(reading: Reading) -> Iterator[Family]:
    survey, bridges = reading.status.survey, reading.status.view.bridges
    staffed = [worker.lane for worker in survey.workers]
    yield _filled(names.WORKERS, [((lane.name,), staffed.count(lane.name)) for lane in survey.lanes])
    yield _filled(names.BRIDGES, [((), bridges)])
    yield _filled(names.WEB_PROCESSES, [((), len(reading.status.web))])
    yield _filled(names.OVERDUE, [((), survey.overdue_s)])
    began = {kind: [each.at for each in survey.pauses if each.target.kind is kind] for kind in PauseKind}
    yield _filled(names.PAUSES, [((str(kind),), len(times)) for kind, times in began.items()])
    yield _filled(
        names.PAUSE_AGE,
        [((str(kind),), survey.now - min(times, default=survey.now)) for kind, times in began.items()],
    )


def _sources(reading: Reading) -> Iterator[Family]:
    rows = [(each.name, each.kept) for each in sorted(reading.status.sources, key=lambda each: each.name)]
    yield _filled(
        names.ACKNOWLEDGED,
        [
            sample
            for name, each in rows
            for sample in (((name, "accepted"), each.accepted), ((name, "spooled"), each.spooled))
        ],
    )
    yield _filled(
        names.REFUSED,
        # Zeros too: an increase cannot see the first burst of a series that begins with it.
        [((name, str(reason)), each.refused.get(reason, 0)) for name, each in rows for reason in Refusal],
    )
    yield _filled(names.FAILURES_LEFT, [((name,), each.failures_left) for name, each in rows])
    for figure, attribute in (
        (names.LAST_ACCEPTED, "last_accepted_at"),
        (names.LAST_TEST, "last_test_at"),
    ):
        yield _filled(
            figure, [((name,), at) for name, each in rows if (at := getattr(each, attribute)) is not None]
        )


def _api(reading: Reading) -> Iterator[Family]:
    rows = reading.status.budgets
    yield _filled(names.BUDGET, [((each.source, each.kind), each.per_minute) for each in rows])
    yield _filled(names.BUDGET_LEFT, [((each.source, each.kind), each.left) for each in rows])
    yield _filled(names.PAUSE, [((source,), pause) for source, pause in reading.pauses_s.items()])
