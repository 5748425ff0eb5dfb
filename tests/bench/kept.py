"""Redis bytes per kept event, by kind of key: whole requests, with the built-in actions on.

``python -m tests.bench --only kept`` plays the lives of signature requests through bridge, sequencer and lanes in this
process, against the simulated API, and weighs every key (``MEMORY USAGE``): when everything is handled, and when the sweeper
has archived what is quiet. It also says what archiving costs per event, and how long one look of it takes.

Not measured: fragmentation, replicas, and bodies that have less in common than the simulator's.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from redis import Redis
from rich.console import Console

from deedbox.shared.archives.archiving import Archivist
from deedbox.shared.core.fields import counts_of
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.workers.process import Process
from tests.bench import prefill, subjects
from tests.bench.inprocess import worked
from tests.bench.payloads import API_KEY
from tests.bench.processes import ROOT, BenchError, Crew, cpu_s
from tests.bench.redis_server import Server, redis_server
from tests.support.brokers import Claims

NAME: Final = "kept"
BUSY: Final = "busy"
ARCHIVED: Final = "archived"
TARGETS: Final = {BUSY: 1_600, ARCHIVED: 500}

REQUESTS: Final = 300
"""Signature requests; about seven callbacks each."""

SEED: Final = 13

LIMIT_S: Final = 300.0

AFTER_S: Final = 3600.0

_POLICY: Final = LifecyclePolicy(begins_at=1_760_000_000, spread_s=3600, life_s=1800, signers_max=3)

_BUDGETS: Final = dict.fromkeys(
    ("DEEDBOX_FILES_PER_MINUTE", "DEEDBOX_TEST_FILES_PER_MINUTE", "DEEDBOX_API_PER_MINUTE"), "100000"
)
"""That nothing waits for."""

_NO_LIMITS: Final = FilesApiPolicy(not_ready_max=0, calls_per_window=10**6, file_calls_per_window=10**6)


def kind_of(name: str) -> str:
    """Return the kind of a key: its name up to the first colon."""
    return name.removeprefix(keys.PREFIX).partition(":")[0]


def weigh(redis: Redis) -> dict[str, tuple[int, int]]:
    """Return bytes and number of the keys of each kind, the heaviest first."""
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for name in redis.scan_iter(keys.PREFIX + "*", 1000):
        kind = kind_of(bytes(name).decode())
        sizes[kind] += redis.memory_usage(name, 0) or 0
        numbers[kind] += 1
    return {kind: (size, numbers[kind]) for kind, size in sizes.most_common()}


def per_event(redis: Redis, events: int) -> float:
    """Return the bytes of all keys per event."""
    return sum(size for size, _ in weigh(redis).values()) / events


def table(title: str, redis: Redis, events: int) -> str:
    """Return bytes per event by kind of key, as Markdown."""
    rows = weigh(redis)
    lines = [f"| {title} | B per event | keys | B per key |", "|---|---|---|---|"]
    lines.append(f"| all | {sum(size for size, _ in rows.values()) / events:.0f} | | |")
    lines += [
        f"| `{kind}` | {size / events:.0f} | {number} | {size / number:.0f} |"
        for kind, (size, number) in rows.items()
        if size / events >= 1
    ]
    return "\n".join(lines)


def settings_of(redis: Server, api_url: str) -> Settings:
    """Return the settings of an installation as it comes, with budgets that nothing waits for."""
    shipped = subjects.deedbox_environment(redis)
    del shipped["DEEDBOX_BUILTINS"], shipped["DEEDBOX_ACTIONS"]
    return Settings.load(shipped | _BUDGETS | {"DEEDBOX_API_URL": api_url, "DEEDBOX_LOG_HOPS": "off"})


def play(redis: Server, process: Process, callbacks: list[SimulatedCallback]) -> None:
    """Work off all callbacks and what they lead to."""
    prefill.fill(redis, subjects.DEEDBOX, tuple(each.json_text for each in callbacks))
    process.announce("default")
    prefill.hand_over(redis, subjects.DEEDBOX)
    bridge = Claims(process.scripts)
    while bridge.once():
        pass
    sweeper, ends_at = process.sweeper(), time.monotonic() + LIMIT_S
    while time.monotonic() < ends_at:
        sweeper.once()
        for drain in process.drains.values():
            while worked(drain):
                pass
        depths: Any = redis.client.hgetall(keys.DEPTHS)
        if not any(counts_of(depths).values()):
            return
        time.sleep(0.1)
    raise BenchError("the actions did not come to an end")


def archive_all(redis: Server, process: Process, events: int) -> str:
    """Archive everything as if it had been quiet for long. Returns what it cost."""
    redis.client.delete(keys.GAPS_DUE)
    quiet: Any = redis.client.zrange(keys.QUIET, 0, -1)
    redis.client.zadd(keys.QUIET, dict.fromkeys(quiet, 1.0))
    archivist, looks = Archivist(process.scripts, AFTER_S), 0
    file = redis.number("persistence", "aof_current_size")
    wall, own, server = time.perf_counter(), time.process_time(), cpu_s(redis.process)
    while archivist.once():
        looks += 1
    wall, own, server = time.perf_counter() - wall, time.process_time() - own, cpu_s(redis.process) - server
    if redis.client.exists(keys.QUIET):
        raise BenchError("not everything was archived")
    return (
        f"archiving: CPU {own / events * 1e6:.0f} us, of Redis {server / events * 1e6:.0f} us per event; "
        f"a look takes {wall / looks * 1000:.0f} ms; "
        f"{(redis.number('persistence', 'aof_current_size') - file) / events:.0f} bytes of append-only file per event"
    )


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Play the requests, and print a table per form. Returns JSON values."""
    del quick
    with tempfile.TemporaryDirectory(dir=out, prefix=".kept-") as room:
        return {**play_and_weigh(REQUESTS, Path(room), console), "targets": TARGETS}


def play_and_weigh(
    requests: int,
    room: Path,
    console: Console,
    seed: int = SEED,
    then: Callable[[Server], None] = lambda _redis: None,
) -> dict[str, float]:
    """Play the requests, and print a line per kind of key. Returns the bytes per event of each form.

    ``then``: looks at what is archived in the end.
    """
    found = generate_requests(requests, Account(API_KEY), random.Random(seed), _POLICY)
    callbacks = [callback for request in found for callback in request.callbacks]
    api = FilesApi(Account(API_KEY), _NO_LIMITS)
    for callback in callbacks:
        api.advance(callback)
    api.start()
    try:
        with Crew(room) as crew, redis_server(crew, room) as redis:
            logs.configure("json", "bench", io.StringIO())
            process = Process(settings_of(redis, api.url))
            play(redis, process, callbacks)
            console.print(f"{len(callbacks)} events of {requests} requests\n")
            console.print(
                table("everything handled", redis.client, len(callbacks)), soft_wrap=True, markup=False
            )
            sizes = {BUSY: per_event(redis.client, len(callbacks))}
            cost = archive_all(redis, process, len(callbacks))
            console.print(table("\narchived", redis.client, len(callbacks)), soft_wrap=True, markup=False)
            sizes[ARCHIVED] = per_event(redis.client, len(callbacks))
            console.print(f"\n{cost}", highlight=False)
            then(redis)
            return sizes
    finally:
        api.stop()


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kept", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    options = parser.parse_args()
    home = ROOT / "var" / "bench"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as name:
        play_and_weigh(options.requests, Path(name), Console())


if __name__ == "__main__":
    main()
