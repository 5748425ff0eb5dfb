"""What two milliseconds to Redis cost: ``python -m tests.bench.delay [--quick]``.

The workers of each subject (Deedbox: bridge, sequencer and default lane; RQ ``SimpleWorker``; Celery prefork ``-c 1``)
reach Redis through a proxy that adds 1 ms in each direction, or nothing; the broker is filled beforehand, as in the
section of the workers. Measured: events per second from the hand-over to the last call, and *turns* (round trips) per
event: how often a process sent something to Redis and had to wait for the answer (``delay_proxy``). Turns hardly depend
on the machine, and say what any delay would cost. Each Deedbox process has a proxy of its own. Subjects are interleaved;
every value is the median of the rounds, with their range.

"Without delay" means through the same proxy: it costs some tenths of a millisecond a turn, and a part of the cores.

Not measured: ingress (one publish is one turn for every subject), lost packets, bandwidth, several processes of a
kind, the sweeper; Redis Sentinel and replicas.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

from redis import Redis
from rich.console import Console
from rich.table import Table

from deedbox.shared.redis import keys
from tests.bench import prefill, probe, subjects
from tests.bench.alone import run_alone
from tests.bench.curves import Axes, bars
from tests.bench.delay_proxy import Proxy, proxies
from tests.bench.payloads import lifecycles
from tests.bench.processes import HOST, BenchError, Crew
from tests.bench.redis_server import Server, redis_server
from tests.bench.spread import spread

NAME: Final = "delay"

DELAY_S: Final = 0.001
"""In each direction."""

SETTLE_S: Final = 0.3
LIMIT_S: Final = 60.0
"""No subject gets longer than this for one measurement."""

TARGET_TURNS: Final = 0.1
"""Per event, all processes together, under backlog."""

Start = Callable[[Crew, Sequence[Server], dict[str, str]], tuple[subjects.Process, ...]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is measured, and how it is started: each of ``processes`` with a Redis address of its own."""

    name: str
    queue: str
    processes: tuple[str, ...]
    start: Start


def _deedbox(crew: Crew, ways: Sequence[Server], probing: dict[str, str]) -> tuple[subjects.Process, ...]:
    bridge, sequencer, lane = ways
    return (
        subjects.deedbox_bridge(crew, bridge),
        subjects.deedbox_worker(crew, sequencer, keys.SEQUENCER, probing),
        subjects.deedbox_worker(crew, lane, "default", probing),
    )


def _rq(crew: Crew, ways: Sequence[Server], probing: dict[str, str]) -> tuple[subjects.Process, ...]:
    return subjects.rq_worker(crew, ways[0], probing)


def _celery(crew: Crew, ways: Sequence[Server], probing: dict[str, str]) -> tuple[subjects.Process, ...]:
    return subjects.celery_worker(crew, ways[0], probing)


DEEDBOX: Final = Subject("Deedbox", subjects.DEEDBOX, ("bridge", "sequencer", "lane"), _deedbox)
RQ: Final = Subject("RQ SimpleWorker", subjects.FLASK_RQ, ("worker",), _rq)
CELERY: Final = Subject("Celery prefork -c 1", subjects.FLASK_CELERY, ("worker",), _celery)
SUBJECTS: Final = (DEEDBOX, RQ, CELERY)


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run."""

    events: dict[str, int]
    rounds: int
    budget_s: float
    """No round is begun after this."""


FULL: Final = Plan({DEEDBOX.name: 10_000, RQ.name: 120, CELERY.name: 400}, 3, 125.0)
QUICK: Final = Plan({DEEDBOX.name: 2_500, RQ.name: 40, CELERY.name: 120}, 1, 20.0)


@dataclass(frozen=True, slots=True)
class Run:
    """What one subject did once."""

    subject: str
    delay_ms: float
    """Added to a turn."""
    ping_ms: float
    """What a turn took then: the fastest PING of many."""
    events: int
    per_s: float
    turns: dict[str, float]
    """Process -> turns per event."""

    @property
    def turns_per_event(self) -> float:
        """Turns per event of all processes together."""
        return sum(self.turns.values())


def measure(subject: Subject, delay_s: float, texts: tuple[bytes, ...], crew: Crew, directory: Path) -> Run:
    """Measure one subject once. Raises BenchError."""
    marks = directory / "marks"
    with redis_server(crew, directory) as redis:
        prefill.fill(redis, subject.queue, texts)
        probing = probe.settings(marks)
        port = urlsplit(redis.url).port
        assert port is not None
        with proxies(port, delay_s, len(subject.processes)) as found:
            ways = [replace(redis, url=f"redis://{HOST}:{each.port}/0") for each in found]
            ping_ms = _ping_ms(found[0])
            consumers = subject.start(crew, ways, probing)
            try:
                crew.wait_for(subject.name, lambda: redis.blocked() >= len(subject.processes))
                time.sleep(SETTLE_S)
                before = [each.turns for each in found]
                started = time.time()
                prefill.hand_over(redis, subject.queue)
                crew.wait_for(subject.name, lambda: len(texts) in probe.read(marks), LIMIT_S)
                turns = [each.turns - first for each, first in zip(found, before, strict=True)]
            finally:
                crew.stop(*consumers)
        took_s = probe.read(marks)[len(texts)] - started
    per_event = {name: count / len(texts) for name, count in zip(subject.processes, turns, strict=True)}
    return Run(subject.name, 2000 * delay_s, ping_ms, len(texts), len(texts) / took_s, per_event)


def _ping_ms(proxy: Proxy) -> float:
    """Return how long a turn takes (ms), in a quiet moment."""
    client = Redis(host=HOST, port=proxy.port)
    try:
        client.ping()
        found = []
        for _ in range(30):
            begun = time.perf_counter()
            client.ping()
            found.append(time.perf_counter() - begun)
        return min(found) * 1000
    finally:
        client.close()


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Measure and print a table. Returns JSON values; raises BenchError if nothing could be measured."""
    plan = QUICK if quick else FULL
    begun = time.monotonic()
    texts = lifecycles(max(plan.events.values()))
    runs: list[Run] = []
    troubles: list[str] = []
    with TemporaryDirectory(dir=out, prefix=".delay-") as directory, Crew(Path(directory)) as crew:
        for number in range(plan.rounds):
            if number and time.monotonic() - begun > plan.budget_s:
                troubles.append(f"only {number} of {plan.rounds} rounds fitted into {plan.budget_s:g} s")
                break
            pairs = [(each, delay_s) for delay_s in (DELAY_S, 0.0) for each in SUBJECTS]
            for subject, delay_s in pairs if number % 2 == 0 else reversed(pairs):
                if quick and delay_s == 0:
                    continue
                what = f"{subject.name}, {2000 * delay_s:g} ms"
                console.print(
                    f"[dim]delay: round {number + 1} of {plan.rounds}, {what}[/dim]", highlight=False
                )
                try:
                    events = tuple(texts[: plan.events[subject.name]])
                    runs.append(measure(subject, delay_s, events, crew, Path(directory)))
                except BenchError as error:
                    troubles.append(f"{what}: {error}")
    if not runs:
        raise BenchError(f"delay: nothing was measured: {'; '.join(troubles)}")
    show(console, runs, troubles)
    return {
        "took_s": round(time.monotonic() - begun, 1),
        "runs": [{**asdict(each), "turns_per_event": each.turns_per_event} for each in runs],
        "target_turns_per_event": TARGET_TURNS,
        "plots": [path.name for path in draw(out, runs)],
        "troubles": troubles,
    }


def show(console: Console, runs: Sequence[Run], troubles: Sequence[str]) -> None:
    """Print a table, and what went wrong."""
    table = Table(
        title="Delay to Redis: pre-filled broker, no-op action", title_justify="left", title_style="bold",
        header_style="dim",
    )  # fmt: skip
    for title in ("", "added", "PING ms", "events/s", "x Deedbox", "round trips/event", "by process"):
        table.add_column(title, justify="right" if title not in {"", "by process"} else "left")
    for delay_ms in sorted({each.delay_ms for each in runs}):
        ours = [each.per_s for each in runs if each.delay_ms == delay_ms and each.subject == DEEDBOX.name]
        for subject in SUBJECTS:
            mine = [each for each in runs if each.delay_ms == delay_ms and each.subject == subject.name]
            if not mine:
                continue
            rate = spread([each.per_s for each in mine])
            by_process = ", ".join(
                f"{name} {spread([each.turns[name] for each in mine]).median:.3f}"
                for name in subject.processes
            )
            table.add_row(
                subject.name,
                f"{delay_ms:g} ms",
                f"{min(each.ping_ms for each in mine):.2f}",
                rate.text(),
                f"1/{spread(ours).median / rate.median:.0f}" if ours and subject is not DEEDBOX else "",
                spread([each.turns_per_event for each in mine]).text(3),
                by_process,
            )
    console.print(table)
    for trouble in troubles:
        console.print(f"NOT MEASURED: {trouble}", markup=False, highlight=False)


def draw(out: Path, runs: Sequence[Run]) -> list[Path]:
    """Write the plot. Returns the files."""
    delayed = [each for each in runs if each.delay_ms]
    found = {
        subject.name: spread(turns)
        for subject in SUBJECTS
        if (turns := [each.turns_per_event for each in delayed if each.subject == subject.name])
    }
    axes = Axes("Round trips to Redis per event, pre-filled broker", "", "round trips per event")
    return bars(out / NAME, axes, found)


if __name__ == "__main__":
    sys.exit(run_alone(NAME, __doc__, run))
