"""The figures of ``deploy/capacity.md``: ``python -m tests.bench.capacity [--quick]`` prints its table anew.

Redis bytes are differences of ``used_memory`` per callback, fitted over two sizes; what is kept is split by kind of key
(``MEMORY USAGE``). Costs are those of ``stages``: one process at a time, at a backlog. RabbitMQ is left out where it
is not installed. Callbacks are the simulator's, about 3.1 KB, which compress better than real ones may: with bodies
of your own, take the bytes of ``zstd`` that ``body`` says, and scale.

Not measured here: ingress and latency (``python -m tests.bench``), fragmentation, replicas, actions that do something.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from redis import Redis
from rich.console import Console

from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.writer import Spool
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.redis import keys
from tests.bench import shapes
from tests.bench.alone import run_alone
from tests.bench.capacity_connections import measure_connections
from tests.bench.capacity_rabbitmq import measure_rabbitmq
from tests.bench.figures import Figure, markdown
from tests.bench.processes import Crew
from tests.bench.redis_server import Server, redis_server
from tests.bench.spread import per_item
from tests.bench.stages import BRIDGE, LANE, SEQUENCER, STAGES, Stages, stages
from tests.support.brokers import broker_at
from tests.support.rabbitmq import RabbitServer

NAME: Final = "capacity"

COMMAND: Final = "python -m tests.bench.capacity"

WARM_UP: Final = 500

FAMILIES: Final = {
    "event:": "stored event (body, facts)",
    "seen:": "dedupe memory",
    "order:": "order state",
    "timeline:": "timeline",
}
"""Beginning of a key -> what it is for; all others together are the rest."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Redis's memory and append-only file."""

    used: int
    file: int

    @classmethod
    def of(cls, redis: Server) -> Memory:
        """Read both."""
        return cls(redis.number("memory", "used_memory"), redis.number("persistence", "aof_current_size"))


def waiting(
    redis: Server, amount: int, fill: Callable[[Iterator[Envelope], int], None]
) -> tuple[float, float]:
    """Return bytes of memory and of the append-only file that one more waiting callback takes."""
    traffic = shapes.lives()
    fill(traffic, WARM_UP)
    found = [(0, Memory.of(redis))]
    for step in (1, 2):
        fill(traffic, amount)
        found.append((step * amount, Memory.of(redis)))
    sizes = [size for size, _ in found]
    return (
        per_item(sizes, [memory.used for _, memory in found]),
        per_item(sizes, [memory.file for _, memory in found]),
    )


def measure_waiting(crew: Crew, directory: Path, amount: int) -> list[Figure]:
    """Measure callbacks in the broker, one by one and many at a time, and in the inbox."""
    found = []
    for name, title in (
        ("single", "waiting in the broker, published one by one"),
        ("shared", "waiting in the broker, 16 to a publish"),
    ):
        with redis_server(crew, directory) as redis:
            publisher = broker_at(redis.url, limit=1)

            def fill(
                traffic: Iterator[Envelope], count: int, publisher: Broker = publisher, name: str = name
            ) -> None:
                envelopes = list(islice(traffic, count))
                if name == "single":
                    for each in envelopes:
                        publisher.publish(each)
                    return
                for first in range(0, count, 16):
                    publisher.publish_many(envelopes[first : first + 16])

            memory, file = waiting(redis, amount, fill)
            publisher.close()
        found.append(Figure(title, memory, "bytes of Redis memory per callback", COMMAND))
        found.append(Figure(f"{title}: file", file, "bytes of append-only file per callback", COMMAND))
    with redis_server(crew, directory) as redis:
        memory, file = waiting(
            redis, amount, lambda traffic, count: shapes.fill_inbox(redis.client, traffic, count)
        )
    found.append(Figure("waiting in the inbox", memory, "bytes of Redis memory per callback", COMMAND))
    return found


def measure_stages(crew: Crew, directory: Path, amount: int) -> list[Figure]:
    """Measure what each stage costs, and what an event takes before and after its action."""
    with redis_server(crew, directory) as redis, stages(crew, redis, directory / "marks") as pipeline:
        _all_through(redis, pipeline, shapes.lives(), WARM_UP)
        traffic = shapes.lives()
        start = Memory.of(redis)
        costs = {}
        shapes.fill_broker(redis.client, traffic, amount)
        for stage in (BRIDGE, SEQUENCER):
            costs[stage] = pipeline.run(stage, amount)[0]
        in_lane = Memory.of(redis)
        costs[LANE] = pipeline.run(LANE, amount)[0]
        end = Memory.of(redis)
        kinds = by_kind(redis.client, amount + WARM_UP)
        facts = sum(redis.client.zcard(key) for key in redis.client.scan_iter(keys.seen("*"), 1000))
        peaks = {stage: pipeline.peak_mb(stage) for stage in STAGES}
        connections = {stage: pipeline.connections(stage) for stage in STAGES}
    rows = [
        Figure(
            f"{stage}: a core",
            1000 / costs[stage].cpu_s_per_1000,
            "events/s per core of process and Redis",
            COMMAND,
        )
        for stage in STAGES
    ]
    rows += [
        Figure(
            f"{stage}: CPU", costs[stage].cpu_s_per_1000, "CPU s per 1,000 events, Redis included", COMMAND, 3
        )
        for stage in STAGES
    ]
    rows += [
        Figure(
            f"{stage}: Redis CPU",
            costs[stage].redis_cpu_s_per_1000,
            "CPU s of Redis per 1,000 events",
            COMMAND,
            3,
        )
        for stage in STAGES
    ]
    rows += [
        Figure("waiting in a lane", (in_lane.used - start.used) / amount, "bytes of Redis memory per event, with what is kept", COMMAND),
        Figure("kept", (end.used - start.used) / amount, "bytes of Redis memory per event, for the retention", COMMAND),
        Figure("append-only file, bridge to action", (end.file - start.file) / amount, "bytes per event, without ingress's", COMMAND),
    ]  # fmt: skip
    rows += [
        Figure(f"kept: {title}", kinds[title], "bytes of Redis memory per event", COMMAND)
        for title in (*FAMILIES.values(), "rest")
    ]
    rows.append(
        Figure("remembered fingerprint", kinds["dedupe memory"] * (amount + WARM_UP) / facts, "bytes of Redis memory", COMMAND)
    )  # fmt: skip
    rows += [Figure(f"{stage}: memory", peaks[stage], "MB resident, at most", COMMAND) for stage in STAGES]
    rows += [
        Figure(f"{stage}: connections", connections[stage], "connections to Redis", COMMAND)
        for stage in STAGES
    ]
    return rows


def _all_through(redis: Server, pipeline: Stages, traffic: Iterator[Envelope], amount: int) -> None:
    shapes.fill_broker(redis.client, traffic, amount)
    for stage in STAGES:
        pipeline.run(stage, amount)


def by_kind(client: Redis, events: int) -> dict[str, float]:
    """Return bytes per event by what the keys are for."""
    found: Counter[str] = Counter()
    names = list(client.scan_iter(keys.PREFIX + "*", 1000))
    for first in range(0, len(names), 1000):
        chunk = names[first : first + 1000]
        pipeline = client.pipeline(transaction=False)
        for name in chunk:
            pipeline.memory_usage(name, 0)
        for name, size in zip(chunk, pipeline.execute(), strict=True):
            found[kind_of(name.decode())] += size or 0
    return {kind: size / events for kind, size in found.items()}


def kind_of(name: str) -> str:
    """Return what a key is for."""
    short = name.removeprefix(keys.PREFIX)
    return next((kind for start, kind in FAMILIES.items() if short.startswith(start)), "rest")


def measure_spool(directory: Path, amount: int) -> list[Figure]:
    """Measure what a callback takes in a spool."""
    folder = SpoolDir(directory / "spool")
    spool = Spool(folder, 1 << 40)
    for envelope in islice(shapes.lives(), amount):
        spool.append(envelope, 5)
    spool.close()
    size = folder.database().stat().st_size
    return [Figure("spool", size / amount, "bytes of disk per callback", COMMAND)]


def measure_body(amount: int) -> list[Figure]:
    """Measure the callbacks themselves."""
    packed = [len(each.body) for each in islice(shapes.lives(), amount)]
    return [
        Figure(
            "body",
            sum(packed) / amount,
            "bytes of a callback's body, compressed with the dictionary",
            COMMAND,
        )
    ]


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Measure and print the page's table. Returns JSON values."""
    begun = time.monotonic()
    amount = 2_000 if quick else 20_000
    found = measure_body(amount)
    troubles = []
    with TemporaryDirectory(dir=out, prefix=".capacity-") as name, Crew(Path(name)) as crew:
        directory = Path(name)
        found += measure_waiting(crew, directory, min(amount, 3_000))
        found += measure_stages(crew, directory, amount)
        found += measure_connections(crew, directory)
        found += measure_spool(directory, min(amount, 3_000))
        if RabbitServer.installed():
            found += measure_rabbitmq(crew, directory, amount)
        else:
            troubles.append("RabbitMQ is not installed")
    console.print(markdown(found), markup=False, highlight=False, soft_wrap=True)
    for trouble in troubles:
        console.print(f"NOT MEASURED: {trouble}", markup=False, highlight=False)
    return {
        "took_s": round(time.monotonic() - begun, 1),
        "sample": amount,
        "figures": [asdict(each) for each in found],
        "plots": [],
        "troubles": troubles,
    }


if __name__ == "__main__":
    sys.exit(run_alone(NAME, __doc__, run))
