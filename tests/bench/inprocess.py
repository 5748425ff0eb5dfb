"""Where the time of the workers goes: bridge, sequencer and lane in one process, one after the other, on a full broker.

``python -m tests.bench.inprocess [--events N] [--lines off] [--builtins NAMES] [--one-key]`` prints CPU per event of this process and of Redis, and the
round trips. Made to be run under a profiler: ``py-spy record -f speedscope -- python -m tests.bench.inprocess``.

Not measured: RQ around the stages, waiting and waking, several processes on the same cores (``tests.bench.stages``
has them), actions that do something.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs, memory, telemetry
from deedbox.shared.settings import Settings
from deedbox.workers.lease import Drain
from deedbox.workers.process import Process
from tests.bench import probe, shapes, subjects
from tests.bench.processes import ROOT, Crew, cpu_s
from tests.bench.redis_server import Server, redis_server
from tests.support.brokers import Claims


def silent(_lane: str) -> None:
    """Ring nobody: whoever works is here."""


def worked(drain: Drain) -> bool:
    """Drain a lane until nothing is ready. Returns whether more may be."""
    return not drain("inprocess", lambda: True).idle


def stage(redis: Server, name: str, events: int, work: Callable[[], bool]) -> None:
    """Run one stage until nothing is left, and print what it cost."""
    redis.client.config_resetstat()
    wall, own, server = time.perf_counter(), time.process_time(), cpu_s(redis.process)
    while work():
        pass
    wall, own, server = (
        (time.perf_counter() - wall) / events * 1e6,
        (time.process_time() - own) / events * 1e6,
        (cpu_s(redis.process) - server) / events * 1e6,
    )
    scripts = redis.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    sys.stdout.write(
        f"{name:<10} {wall:7.1f} us  CPU {own:6.1f} us, of Redis {server:6.1f} us per event; "
        f"{scripts / events:.3f} scripts per event\n"
    )


def run(options: argparse.Namespace, room: Path) -> None:
    """Fill a broker, then work it off stage by stage."""
    events = options.events
    with Crew(room) as crew, redis_server(crew, room) as redis, (room / "log").open("w") as log:
        shapes.fill_broker(redis.client, shapes.keyed(1) if options.one_key else shapes.lives(), events)
        settings = Settings.load(
            subjects.deedbox_environment(redis)
            | {"DEEDBOX_LOG_HOPS": options.lines, "DEEDBOX_BUILTINS": options.builtins}
        )
        logs.configure("json", "inprocess", log)
        telemetry.configure(settings, "inprocess")
        process = Process(settings)
        process.announce("default")
        bridge = Claims(process.scripts)
        memory.settle()
        stage(redis, "bridge", events, lambda: bridge.once() > 0)
        for lane in (keys.SEQUENCER, "default"):
            drain = process.drains[lane]
            stage(redis, lane, events, partial(worked, drain))
        done = redis.counter("action_done")
        if done < events:
            raise SystemExit(f"{events} events, but {done} calls")


def main() -> None:
    """Measure, and print a line per stage."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inprocess", description=__doc__)
    parser.add_argument("--events", type=int, default=8000)
    parser.add_argument(
        "--lines", choices=("on", "off"), default="on", help="a log line per callback and hop"
    )
    parser.add_argument("--builtins", default="none", help="built-in actions of the default lane, by commas")
    parser.add_argument("--one-key", action="store_true", help="all callbacks are of one signature request")
    options = parser.parse_args()
    home = ROOT / "var" / "bench"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as name:
        os.environ |= probe.settings(Path(name) / "marks")
        run(options, Path(name))


if __name__ == "__main__":
    main()
