"""``python -m tests.bench --only encryption``: what a key ring costs, in CPU and in bytes, off and on by turns.

Every stage runs in this process, one after the other, on a Redis of its own. ``ingress`` is what a web process does with
an accepted callback before it publishes it: compress, and encrypt if there is a ring. The lane runs a no-op action and
``track_status``.

Does not measure: processes beside each other, waiting and waking; documents, which cost what AES costs (about 1 ms per MB).
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from deedbox.shared import sealing
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs, telemetry
from deedbox.shared.sealing.key_ring import KeyRing
from deedbox.shared.settings import Settings
from deedbox.workers.process import Process
from tests.bench import prefill, probe, subjects
from tests.bench.inprocess import worked
from tests.bench.payloads import lifecycles
from tests.bench.processes import ROOT, BenchError, Crew, cpu_s
from tests.bench.redis_server import Server, redis_server
from tests.support.brokers import Claims, broker_at

NAME: Final = "encryption"
EVENTS: Final = (3_000, 10_000)
ROUNDS: Final = (3, 5)
"""Quick, and not."""

CHUNK: Final = 250
RING: Final = bytes(range(32))


@dataclass(frozen=True)
class Cost:
    """Of one event: CPU in microseconds, and bytes of Redis."""

    ingress_us: float
    bridge_us: float
    sequencer_us: float
    lane_us: float
    redis_us: float
    waiting_bytes: float
    """In the broker."""
    kept_bytes: float
    """After everything is done."""


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Measure off and on by turns. Prints a table, returns JSON values."""
    del out
    texts = tuple(lifecycles(EVENTS[not quick]))
    found: dict[str, list[Cost]] = {"off": [], "on": []}
    for number in range(ROUNDS[not quick]):
        for mode in sorted(found, reverse=number % 2 == 1):
            found[mode].append(_measured(texts, KeyRing([RING]) if mode == "on" else None))
    console.print(_table(found))
    return {mode: [asdict(cost) for cost in costs] for mode, costs in found.items()}


def _measured(texts: tuple[bytes, ...], ring: KeyRing | None) -> Cost:
    home = ROOT / "var" / "bench"
    home.mkdir(parents=True, exist_ok=True)
    sealing.install(ring)
    try:
        with (
            TemporaryDirectory(dir=home) as name,
            Crew(Path(name)) as crew,
            redis_server(crew, Path(name)) as redis,
        ):
            os.environ |= probe.settings(Path(name) / "marks")
            return _played(redis, texts)
    finally:
        sealing.install(None)


def _played(redis: Server, texts: tuple[bytes, ...]) -> Cost:
    empty, events = _used(redis), len(texts)
    accepted = [prefill.accepted(text) for text in texts]
    begun = time.process_time()
    envelopes = [each.envelope(1000.0, f"{number:032x}") for number, each in enumerate(accepted)]
    ingress_us = (time.process_time() - begun) / events * 1e6
    publisher = broker_at(redis.url, limit=1)
    for first in range(0, events, CHUNK):
        publisher.publish_many(envelopes[first : first + CHUNK])
    publisher.close()
    waiting_bytes = (_used(redis) - empty) / events
    settings = Settings.load(
        subjects.deedbox_environment(redis) | {"DEEDBOX_BUILTINS": "track_status", "DEEDBOX_LOG_HOPS": "off"}
    )
    telemetry.configure(settings, "bench")
    logs.configure("json", "bench", io.StringIO())
    process = Process(settings)
    process.announce("default")
    bridge, server_s = Claims(process.scripts), cpu_s(redis.process)
    stages = {
        "bridge": lambda: bridge.once() > 0,
        "sequencer": lambda: worked(process.drains[keys.SEQUENCER]),
        "lane": lambda: worked(process.drains["default"]),
    }
    own = {stage: _drained(work) / events * 1e6 for stage, work in stages.items()}
    redis_us = (cpu_s(redis.process) - server_s) / events * 1e6
    if (done := redis.counter("action_done")) < events:
        raise BenchError(f"{events} events, but {done} calls")
    kept = (_used(redis) - empty) / events
    return Cost(ingress_us, own["bridge"], own["sequencer"], own["lane"], redis_us, waiting_bytes, kept)


def _drained(work: Callable[[], bool]) -> float:
    """Run a stage until nothing is left. Returns the CPU of this process, in seconds."""
    begun = time.process_time()
    while work():
        pass
    return time.process_time() - begun


def _used(redis: Server) -> int:
    return int(redis.client.info("memory")["used_memory"])


def _table(found: dict[str, list[Cost]]) -> Table:
    table = Table("per event", "off", "on", "more", title="a key ring: CPU in us, bytes of Redis")
    for name in Cost.__dataclass_fields__:
        off, on = (statistics.median(getattr(cost, name) for cost in found[mode]) for mode in ("off", "on"))
        table.add_row(name, f"{off:.1f}", f"{on:.1f}", f"{on - off:+.1f}")
    return table
