"""Bridge, sequencer and lane as they ship, one process each, of which only the measured one runs at a time.

The others are stopped (SIGSTOP) and take no time; a backlog is filled while all three are. What a stage costs is read
from the kernel before it goes on and after it has done its share: user + system time of the process and of Redis.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from deedbox.shared.core.identity import SHARDS
from deedbox.shared.redis import keys
from tests.bench import probe, subjects
from tests.bench.processes import Crew, cpu_s
from tests.bench.redis_server import Server

BRIDGE: Final = "bridge"
SEQUENCER: Final = "sequencer"
LANE: Final = "lane"
STAGES: Final = (BRIDGE, SEQUENCER, LANE)

SHARE_S: Final = 120.0
"""No share gets longer than this."""

ENOUGH_S: Final = 8.0
"""After this long no further share is begun: on a busy machine the first ones must do."""

LAST_S: Final = 0.05
"""After the last commit of a share: its log lines, and the look for more that finds nothing."""

_COUNTER: Final = {SEQUENCER: "released", LANE: "action_done"}


@dataclass(frozen=True, slots=True)
class Share:
    """What a stage did, and what it took."""

    events: int
    took_s: float
    cpu_s: float
    redis_cpu_s: float

    @property
    def per_s(self) -> float:
        """Events per second."""
        return self.events / self.took_s

    @property
    def cpu_s_per_1000(self) -> float:
        """CPU seconds of process and Redis per 1,000 events."""
        return (self.cpu_s + self.redis_cpu_s) / self.events * 1000

    @property
    def redis_cpu_s_per_1000(self) -> float:
        """CPU seconds of Redis alone per 1,000 events."""
        return self.redis_cpu_s / self.events * 1000


class Stages:
    """The three processes. Each is stopped, but while it is measured."""

    def __init__(self, crew: Crew, redis: Server, marks: Path) -> None:
        # The probe marks a call that never comes: it costs what it costs in the other benchmarks, and writes nothing.
        quiet = probe.settings(marks)
        self._crew = crew
        self._redis = redis
        self._processes = {
            BRIDGE: subjects.deedbox_bridge(crew, redis),
            SEQUENCER: subjects.deedbox_worker(crew, redis, keys.SEQUENCER, quiet),
            LANE: subjects.deedbox_worker(crew, redis, "default", quiet),
        }

    def wait(self) -> None:
        """Wait until all three wait for work, then stop them. Raises BenchError."""
        self._crew.wait_for("stages", lambda: self._redis.blocked() >= len(self._processes))
        for process in self._processes.values():
            psutil.Process(process.pid).suspend()

    def close(self) -> None:
        """End them; who is stopped hears no request to end."""
        for process in self._processes.values():
            if process.poll() is None:
                psutil.Process(process.pid).resume()
        self._crew.stop(*self._processes.values())

    def done(self, stage: str) -> int:
        """Return how many events a stage has worked off since the start."""
        if stage != BRIDGE:
            return self._redis.counter(_COUNTER[stage])
        return self.inbox() + self._redis.counter("released")

    def inbox(self) -> int:
        """Return how many callbacks are in the inbox."""
        pipeline = self._redis.client.pipeline(transaction=False)
        for shard in range(SHARDS):
            pipeline.llen(keys.inbox(shard))
        return sum(pipeline.execute())

    def run(self, stage: str, events: int, slices: int = 1) -> list[Share]:
        """Let a stage work off about so many events, in so many shares of which each is measured. Raises BenchError.

        Fewer shares if it takes long (``ENOUGH_S``).
        """
        found = []
        # Read while it stands still: once it goes on, it is faster than we are.
        before = self._now(stage)
        first, begun = before.done, before.at
        with self._going(stage):
            for number in range(1, slices + 1):
                goal = first + events * number // slices
                self._wait_for(stage, goal)
                ended_at = time.monotonic()
                if number == slices:
                    time.sleep(LAST_S)
                now = self._now(stage)
                if now.done == before.done:
                    continue  # the batch before went past this share's end, too
                found.append(
                    Share(now.done - before.done, ended_at - before.at, now.cpu_s - before.cpu_s, now.redis_s - before.redis_s)
                )  # fmt: skip
                before = now
                if now.at - begun > ENOUGH_S:
                    break
        return found

    def run_for(self, stage: str, events: int, seconds: float) -> None:
        """Let a stage work off so many events, or as many as it can in the time; nothing is measured."""
        goal = self.done(stage) + events
        end = time.monotonic() + seconds
        with self._going(stage):
            self._crew.wait_for(
                stage, lambda: self.done(stage) >= goal or time.monotonic() > end, SHARE_S, pause_s=0.1
            )
            time.sleep(LAST_S)

    def peak_mb(self, stage: str) -> float:
        """Return the most memory that a stage's process has had resident (MB); where the kernel does not say, what it has now."""
        pid = self._processes[stage].pid
        try:
            status = Path(f"/proc/{pid}/status").read_text("ascii")
        except OSError:
            return float(psutil.Process(pid).memory_info().rss) / 1e6
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6

    def connections(self, stage: str) -> int:
        """Return how many connections to Redis a stage's process has open."""
        found = psutil.Process(self._processes[stage].pid).net_connections("tcp")
        return sum(each.status == psutil.CONN_ESTABLISHED for each in found)

    @contextmanager
    def _going(self, stage: str) -> Iterator[None]:
        process = psutil.Process(self._processes[stage].pid)
        process.resume()
        try:
            yield
        finally:
            process.suspend()

    def _wait_for(self, stage: str, goal: int) -> None:
        self._crew.wait_for(stage, lambda: self.done(stage) >= goal, SHARE_S, pause_s=0.01)

    def _now(self, stage: str) -> _Reading:
        return _Reading(
            time.monotonic(),
            self.done(stage),
            precise_cpu_s(self._processes[stage]),
            precise_cpu_s(self._redis.process),
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    done: int
    cpu_s: float
    redis_s: float


@contextmanager
def stages(crew: Crew, redis: Server, marks: Path) -> Iterator[Stages]:
    """Run the three processes for the block."""
    found = Stages(crew, redis, marks)
    try:
        found.wait()
        yield found
    finally:
        found.close()


def precise_cpu_s(process: subjects.Process) -> float:
    """Return user + system seconds of a process that has no children; on Linux to the nanosecond, else in ticks."""
    try:
        threads = list(Path(f"/proc/{process.pid}/task").iterdir())
        return sum(int((thread / "schedstat").read_text("ascii").split()[0]) for thread in threads) / 1e9
    except (OSError, IndexError):
        return cpu_s(process)
