"""``python -m tests.bench --only operations``: what operators do, with a million kept events, beside a stream of callbacks.

One Redis with a million kept events (``--quick``: 100,000) and 100,000 dead letters (10,000). For each operation: how long it
took, the longest script call and the longest other command by Redis's slow log, and how long ingress took to answer 50
callbacks a second meanwhile. An operation that is shorter than ``LEAST_S`` is done again and again. Two rows compare: ingress
alone, and ingress beside a process that only computes, because everything here shares a few cores.

Does not measure: workers beside it; an installation of which memory is short; a rewrite of the append-only file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, Final

from redis import Redis
from rich.console import Console
from rich.table import Table

from deedbox.ops.charts import samples
from deedbox.ops.checks import redis_server as redis_checks
from deedbox.ops.installation import Installation
from deedbox.ops.metrics import reading
from deedbox.ops.readmodels import look_ups, request_search, status
from deedbox.ops.repair.deadletters import DeadLetters
from deedbox.ops.repair.pausing import Pauser
from deedbox.ops.repair.redrive import Redriver
from deedbox.ops.repair.replay import Replayer
from deedbox.ops.repair.undeclared import UndeclaredCalls
from deedbox.shared.core.routing import PauseKind
from deedbox.shared.pauses import PauseTarget
from deedbox.shared.records.replay_order import ReplayOrder, ReplaySpan
from deedbox.shared.records.stored_event import whole
from deedbox.shared.records.subscriptions import Subscription, Subscriptions
from deedbox.shared.redis import keys
from deedbox.shared.redis.erasure import Asker, Eraser
from deedbox.shared.redis.key_types import suspect
from deedbox.shared.redis.request_keys import Subject
from deedbox.shared.redis.scripting import Scripts, text
from deedbox.workers.sweeper.foreign_keys import ForeignKeys
from deedbox.workers.sweeper.sweeper import TICK_S, Sweeper
from tests.bench import million, subjects
from tests.bench.generator import Generator
from tests.bench.ingress import listens
from tests.bench.load import Plan
from tests.bench.payloads import distinct, write_file
from tests.bench.processes import Crew, free_port
from tests.bench.redis_server import Server, redis_server
from tests.bench.room import percentile
from tests.bench.targets import Verdict

NAME: Final = "operations"
EVENTS: Final = (100_000, 1_000_000)
LETTERS: Final = (10_000, 100_000)
"""Quick, and not."""

RATE_PER_S: Final = 50.0
LEAST_S: Final = 5.0
TURN_S: Final = 0.5
"""Of the sender: after so long it looks whether the operation is over."""

SLOW_US: Final = 1_000
"""What the slow log notes."""

CALL_MAX_MS: Final = 20.0
P99_FACTOR: Final = 2.0
CALLBACKS: Final = 40_000
ALONE: Final = "(nothing)"
COMPUTING: Final = "(a process that only computes)"
OLD: Final = Subscription("old", ("*",), "default", ordered=True)


@dataclass(frozen=True, slots=True)
class Measured:
    """One operation."""

    name: str
    took_s: float
    """Of one time."""
    times: int
    script_ms: float
    """The longest script call; 0: none was as long as the slow log notes."""
    command_ms: float
    """The longest other command."""
    command: str
    """Its name."""
    p50_ms: float
    p99_ms: float
    callbacks: int


Work = Callable[[], object]


class _Bench:
    def __init__(self, redis: Server, generator: Generator, port: int, callbacks: Path) -> None:
        self._redis, self._generator = redis, generator
        self._port, self._callbacks = port, str(callbacks)
        self._sent = 0
        self.found: list[Measured] = []

    def measure(self, name: str, work: Work, *, again: bool = True) -> None:
        """Do it beside callbacks: again and again while it is short, unless it can be done only once."""
        self._redis.client.slowlog_reset()
        answers: list[float] = []
        done = Event()
        sending = Thread(target=self._send, args=(done, answers))
        sending.start()
        begun, times, took = time.perf_counter(), 0, 0.0
        try:
            while not times or (again and took < LEAST_S):
                work()
                times += 1
                took = time.perf_counter() - begun
        finally:
            done.set()
            sending.join()
        script_ms, command_ms, command = self._longest()
        row = Measured(
            name, round(took / times, 4), times, script_ms, command_ms, command,
            round(percentile(answers, 0.5), 2), round(percentile(answers, 0.99), 2), len(answers),
        )  # fmt: skip
        self.found.append(row)

    def _send(self, done: Event, answers: list[float]) -> None:
        while not done.is_set() or not answers:
            amount = int(RATE_PER_S * TURN_S)
            plan = Plan(
                self._port, self._callbacks, keep_alive=False, rate_per_s=RATE_PER_S, first=self._sent, count=amount,
                seed=self._sent,
            )  # fmt: skip
            answers += self._generator.offer(plan).answer_ms
            self._sent = (self._sent + amount) % (CALLBACKS - amount)

    def _longest(self) -> tuple[float, float, str]:
        """Return the longest script call and the longest other command, in ms, and the name of that command."""
        script_ms, command_ms, command = 0.0, 0.0, ""
        rows: Any = self._redis.client.slowlog_get(10_000)
        for row in rows:
            name, took_ms = bytes(row["command"]).partition(b" ")[0].upper().decode(), row["duration"] / 1000
            if name.startswith("EVAL"):
                script_ms = max(script_ms, took_ms)
            elif name not in {"CONFIG", "SLOWLOG", "SCRIPT"} and took_ms > command_ms:
                command_ms, command = took_ms, name
        return script_ms, command_ms, command


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Measure, print a table. Returns JSON values."""
    begun = time.monotonic()
    with (
        TemporaryDirectory(dir=out, prefix=".operations-") as name,
        Crew(Path(name)) as crew,
        redis_server(crew, Path(name)) as redis,
    ):
        client = redis.client
        client.config_set("slowlog-log-slower-than", -1)
        events = million.fill(redis, EVENTS[not quick])
        million.file_letters(client, LETTERS[not quick])
        console.print(
            f"[dim]operations: {events:,} events, {client.dbsize():,} keys, after {time.monotonic() - begun:.0f} s[/dim]"
        )
        client.config_set("slowlog-log-slower-than", SLOW_US)
        client.config_set("slowlog-max-len", 10_000)
        callbacks, port = Path(name) / "bodies", free_port()
        write_file(callbacks, distinct(CALLBACKS))
        web = subjects.ingress(crew, subjects.DEEDBOX, redis, port)
        crew.wait_for("ingress", lambda: listens(port))
        bench = _Bench(redis, Generator(crew), port, callbacks)
        _all(bench, redis, events)
        crew.stop(web)
        found = {
            "took_s": round(time.monotonic() - begun, 1), "events": events, "rate_per_s": RATE_PER_S,
            "operations": [asdict(row) for row in bench.found],
        }  # fmt: skip
    console.print(table(bench.found))
    return found


def _all(bench: _Bench, redis: Server, events: int) -> None:
    bench.measure("(warm-up)", lambda: time.sleep(LEAST_S))
    bench.found.clear()
    bench.measure(ALONE, lambda: time.sleep(LEAST_S))
    bench.measure(COMPUTING, _compute)
    installation = Installation(million.settings_of(redis))
    _reads(bench, installation)
    _repairs(bench, installation, events)
    _sweeps(bench, installation)
    bench.measure(ALONE, lambda: time.sleep(LEAST_S))


def _compute() -> None:
    until, found = time.perf_counter() + LEAST_S, 0
    while time.perf_counter() < until:
        found += sum(range(1000))


def _reads(bench: _Bench, installation: Installation) -> None:
    redis = installation.redis
    bench.measure("status", lambda: status.look(installation))
    bench.measure("metrics", lambda: reading.read(installation))
    bench.measure("search for a title", lambda: request_search.search(redis, ["default"], "no such title"))
    finished = look_ups.LookUp("default", state="complete", limit=200)
    bench.measure("look up by state", lambda: look_ups.look_up(redis, finished))
    _fill_samples(redis)
    bench.measure("samples of a day", lambda: samples.read(redis, 0))
    letters = DeadLetters(installation.scripts)
    bench.measure("list all dead letters", lambda: sum(1 for _ in letters.newest_first()))
    bench.measure("check the Redis", lambda: list(redis_checks.check(redis, "redis", "DEEDBOX_REDIS_URL")))


def _fill_samples(redis: Redis) -> None:
    dump = "x" * 1500
    pipe = redis.pipeline(transaction=False)
    for number in range(keys.SAMPLES_KEEP):
        pipe.xadd(keys.SAMPLES, {samples.FIELD: dump}, id=f"{number + 1}-0")
    pipe.execute()


def _repairs(bench: _Bench, installation: Installation, events: int) -> None:
    scripts, redis = installation.scripts, installation.redis
    now = time.time()
    _declare(scripts, "noop", "old")
    pauser = Pauser(scripts)
    replayer = Replayer(scripts, _silent)
    share = 0.02 if events > EVENTS[0] * 2 else 0.1
    span = ReplaySpan(now - million.PAST_S * share, now)
    plans: list[Any] = []
    bench.measure(
        "replay by time: plan",
        lambda: plans.append(replayer.plan(ReplayOrder(("old",), span), (OLD,))),
        again=False,
    )
    bench.measure(f"replay {plans[0].events:,} events", lambda: replayer.carry_out(plans[0]), again=False)
    target = PauseTarget(PauseKind.SOURCE, "default")
    bench.measure(
        "pause and resume a source", lambda: (pauser.pause(target, by="bench"), pauser.resume(target))
    )
    _declare(scripts, "noop")
    calls = UndeclaredCalls(scripts, _silent)
    bench.measure("rename the calls of an action", lambda: calls.rename("old", "noop"), again=False)
    _declare(scripts, "old")
    bench.measure("end the calls of an action", lambda: calls.end("noop"), again=False)
    _declare(scripts, "noop", "old")
    letters = DeadLetters(scripts)
    every = list(letters.newest_first())
    redriver = Redriver(scripts, _silent)
    some = every[:1000]
    bench.measure("redrive 1,000 letters", lambda: redriver.carry_out(redriver.plan(some)), again=False)
    bench.measure(
        f"discard {len(every) - 1000:,} letters", lambda: letters.discard(every[1000:]), again=False
    )
    eraser = Eraser(scripts, installation.documents, installation.settings.retention)
    rows: Any = redis.zrange(keys.STREAMS, 0, 2000)
    streams = iter(map(text, rows))

    def erase() -> None:
        subject = Subject("default", next(streams).partition(":")[2])
        eraser.find(subject)
        eraser.erase(subject, documents=False, by=Asker.OPERATOR)

    bench.measure("erase a request", erase)
    big = Subject("default", "signature_request/" + "b" * 40)
    _fill_stream(redis, big.stream, 20_000)
    bench.measure(
        "erase a request of 20,000 events",
        lambda: (eraser.find(big), eraser.erase(big, documents=False, by=Asker.OPERATOR)),
        again=False,
    )


def _fill_stream(redis: Redis, stream: str, events: int) -> None:
    pipe = redis.pipeline(transaction=False)
    for number in range(events):
        name = f"bb{number:030x}"
        pipe.zadd(keys.seen(stream), {name: time.time()})
        pipe.hset(
            keys.event(name), items=[each for pair in whole(b"{}", b"x" * 500).items() for each in pair]
        )
    pipe.execute()


def _sweeps(bench: _Bench, installation: Installation) -> None:
    scripts, redis = installation.scripts, installation.redis
    sweeper = Sweeper(scripts, _silent)
    bench.measure("sweep, nothing due", sweeper.once)
    rows: Any = redis.zrange(keys.STREAMS, 0, 49_999)
    units = [f"noop|{text(row)}" for row in rows]
    entry = "f" * 32 + '{"at":1.0}'
    for part, score in (("waiting", 1.0), ("leased", 1.0), ("parked", 1.0)):
        pipe = redis.pipeline(transaction=False)
        for unit in units:
            pipe.rpush(keys.queue(unit), entry)
            pipe.zadd(keys.action("noop", part), {unit: score})
        pipe.execute()
        work = partial(_sweep_all, sweeper, redis, part)
        bench.measure(f"sweep, {len(units):,} units {part}", work, again=False)
    expired = {f"default:signature_request/{number:040x}": 1.0 for number in range(100_000)}
    redis.zadd(keys.STREAMS, expired)
    bench.measure("sweep, 100,000 streams expired", lambda: _forget_all(sweeper, redis), again=False)
    suspect(redis)
    foreign = ForeignKeys(scripts)
    bench.measure("walk after a wrong key", lambda: _walk(foreign, redis), again=False)


def _sweep_all(sweeper: Sweeper, redis: Redis, part: str) -> None:
    while redis.exists(keys.action("noop", part)):
        sweeper.once()


def _forget_all(sweeper: Sweeper, redis: Redis) -> None:
    while redis.zcount(keys.STREAMS, 0, 1):
        sweeper.once()


def _walk(foreign: ForeignKeys, redis: Redis) -> None:
    while redis.exists(keys.FOREIGN_SUSPECTED):
        foreign.once()
        time.sleep(TICK_S)


def _declare(scripts: Scripts, *names: str) -> None:
    declared = Subscriptions(tuple(Subscription(name, ("*",), "default", ordered=True) for name in names))
    scripts.call("announce", "", f"{time.time()} {declared.digest}", declared.dump(), 60, 0)


def _silent(_lane: str) -> None:
    """Ring nobody: no worker runs here."""


def usual_ms(rows: Sequence[Measured]) -> float:
    """Return the p99 of ingress alone: the greater one of before and after the operations."""
    return max(row.p99_ms for row in rows if row.name == ALONE)


def table(rows: Sequence[Measured]) -> Table:
    """Return the table."""
    found = Table(title="Operations beside 50 callbacks a second", title_justify="left", header_style="dim")
    for title in ("", "took s", "longest script, ms", "other command, ms", "p50 ms", "p99 ms", "callbacks"):
        found.add_column(title, justify="right" if title else "left")
    for row in rows:
        found.add_row(
            row.name, f"{row.took_s:.3g}", f"{row.script_ms:.1f}", f"{row.command_ms:.1f} {row.command}".strip(),
            f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}", f"{row.callbacks:,}",
        )  # fmt: skip
    return found


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Hold every operation against both goals."""
    rows = [Measured(**row) for row in found["operations"]]
    usual = usual_ms(rows)
    slowest = max(rows, key=lambda row: max(row.script_ms, row.command_ms))
    longest = max(slowest.script_ms, slowest.command_ms)
    worst = max((row for row in rows if row.name != COMPUTING), key=lambda row: row.p99_ms)
    return [
        Verdict(
            "longest script call or command of an operation", f"at most {CALL_MAX_MS:g} ms",
            f"{longest:.1f} ms ({slowest.name})", longest <= CALL_MAX_MS,
        ),
        Verdict(
            "p99 of ingress beside an operation, over its usual", f"at most {P99_FACTOR:g}",
            f"{worst.p99_ms / usual:.2f} ({worst.name})", worst.p99_ms <= P99_FACTOR * usual,
        ),
    ]  # fmt: skip
