"""A deployment in which one process of every kind dies at a named point, with traffic, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import psutil
from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.demo import home
from deedbox.ops.demo.course import Course
from deedbox.ops.demo.evidence import lines_of, read_record
from deedbox.ops.demo.report import DemoReport, judge
from deedbox.ops.demo.scenario import Scenario
from deedbox.ops.supervise.readiness import callback_url
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from tests.component.workers.server import RedisServer
from tests.e2e.crash.harness import Point
from tests.soak import hanging, moving
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
_NEVER = 10**9
"""One call in so many hangs."""

Words = tuple[str, ...]
WEB: Words = ("deedbox.ingress",)
BRIDGE: Words = ("deedbox.workers", "bridge")
SWEEPER: Words = ("deedbox.workers", "sweeper")
SEQUENCER: Words = ("deedbox.workers", "worker", "--lane", "sequencer")
DEFAULT: Words = ("deedbox.workers", "worker", "--lane", "default")
DOCUMENTS: Words = ("deedbox.workers", "worker", "--lane", "documents")
SPARE: Words = ("deedbox.workers", "worker", "--lane", moving.LANES[1])
"""Of the lane to which an action moves."""


@dataclass(frozen=True)
class Death:
    """What a process left when it died."""

    at: float
    pid: int
    streams: frozenset[str]
    fingerprints: frozenset[str]


class _Silent:
    """A meter for nobody."""

    def phase(self, text: str, total: int | None = None) -> None: ...

    def step(self, done: int, detail: str = "") -> None: ...


class Processes:
    """Ordinary processes and doomed ones; a doomed one has an ordinary successor as soon as it has died."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, dict(environment)
        self._log = (folder / "log").open("ab")
        self._running: list[tuple[subprocess.Popen[bytes], Words]] = []
        self._succeeded: set[Words] = set()
        self._seen: set[int] = set()
        self.killed: set[int] = set()
        """Pids that ended by SIGKILL."""

    def start(self, words: Words, *points: Point) -> None:
        """Start a process, doomed if points are given."""
        doom = ("tests.e2e.crash.harness", str(self._folder), ",".join(points), "--") if points else ()
        process = subprocess.Popen(
            [sys.executable, "-m", *doom, *words], cwd=ROOT, env=self._environment,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self._running.append((process, words))

    def succeed(self) -> None:
        """Start one successor for each kind of process of which one has died, and again what gave up by itself."""
        for process, words in self._running[:]:
            if process.poll() is None or process.pid in self._seen:
                continue
            self._seen.add(process.pid)
            if process.returncode == -signal.SIGKILL:
                self.killed.add(process.pid)
            # A bridge that starts while its broker is down ends with one sentence: its supervisor's business.
            if words not in self._succeeded or process.pid not in self.killed:
                self._succeeded.add(words)
                self.start(words)

    def of_lane(self, lane: str) -> list[psutil.Process]:
        """Return the workers of a lane that run now."""
        running = [
            process.pid for process, words in self._running if words[-1] == lane and process.poll() is None
        ]
        return [psutil.Process(pid) for pid in running]

    def log(self) -> str:
        """Return what the processes logged last."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-6000:]

    def close(self) -> None:
        """End whatever still runs."""
        for process, _ in reversed(self._running):
            process.terminate()
        for process, _ in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()
        self._log.close()


class World:
    """One scenario, played against doomed processes. ``run`` once, then look."""

    def __init__(
        self, folder: Path, state: RedisServer, broker_url: str, requests: int, seed: int, replicas: int = 0
    ) -> None:
        """``replicas``: so many of each Redis are waited for."""
        self.folder, self.points = folder, list[Point]()
        scenario = Scenario.draw(requests, seed)
        environ = dict(os.environ)
        self._api_port = home.isolate(environ, folder, scenario.account.api_key)
        environ |= {"DEEDBOX_REDIS_URL": state.url, "DEEDBOX_BROKER_URL": broker_url}
        environ["DEEDBOX_REDIS_WAIT_REPLICAS"] = str(replicas)
        self.settings = Settings.load(environ)
        self._deploys = moving.Deploys(folder)
        environ["DEEDBOX_ACTIONS"] += f",{hanging.__name__},{moving.__name__}"
        environ |= {moving.FOLDER_VARIABLE: str(folder), hanging.ONE_IN_VARIABLE: str(_NEVER)}
        self.redis: Redis = state.client()
        self.processes = Processes(folder, environ)
        self._files_api = scenario.files_api(callback_url(self.settings))
        self._stop = threading.Event()
        self._course = Course(
            settings=self.settings, scenario=scenario, files_api=self._files_api, redis=self.redis,
            meter=_Silent(), stop=self._stop, restarts={}, began_at=time.time(),
        )  # fmt: skip

    def start(self, words: Words, *points: Point) -> None:
        """Start a process that dies at these points."""
        self.points += points
        self.processes.start(words, *points)

    def deploy(self) -> None:
        """Move an action to another lane, once the workers that were to die in a call have died."""
        in_calls = [point for point in self.points if point.startswith("lane")]
        until(lambda: all(self.death(point) for point in in_calls), "all that die in a call have died")
        self._deploys.deploy(self.processes.of_lane)

    def run(self, meanwhile: Callable[[], object], settled: Callable[[], str]) -> DemoReport:
        """Play; call ``meanwhile`` once a callback was acknowledged; wait until all died and nothing is under way.

        ``settled`` tells what is under way beyond the state's Redis; empty: nothing.
        """
        successor = threading.Thread(target=self._succeed, daemon=True)
        self._files_api.start(self._api_port)
        successor.start()
        try:
            self._course._wait_until_ready()
            trouble = threading.Thread(target=meanwhile)
            trouble.start()
            ledger = self._course._play()
            trouble.join()
            facts = self._course._acked(ledger)
            sent = self._course._sent(ledger, facts)
            unfinished = self._wait(lambda: self._course._under_way(sent) or self._not_dead() or settled())
            return judge(replace(sent, put_off=0), self._course._found(facts, unfinished))
        finally:
            self._stop.set()
            successor.join()

    def _succeed(self) -> None:
        while not self._stop.wait(0.1):
            self.processes.succeed()

    def _not_dead(self) -> str:
        return ", ".join(f"{point} not reached" for point in self.points if self.death(point) is None)

    def _wait(self, under_way: Callable[[], str]) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while what := under_way():
            if time.monotonic() > deadline:
                return what
            time.sleep(0.2)
        return ""

    def death(self, point: Point) -> Death | None:
        """Return what a death left, if it has come."""
        try:
            note = json.loads((self.folder / f"{point}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Death(note["at"], note["pid"], frozenset(note["streams"]), frozenset(note["fingerprints"]))

    def timeline(self, stream: str) -> list[dict[str, Any]]:
        """Return a stream's timeline."""
        return lines_of(self.redis, stream)

    def lines(self, streams: Sequence[str] | frozenset[str], *kinds: str) -> list[dict[str, Any]]:
        """Return the timelines' lines of these kinds."""
        return [line for stream in streams for line in self.timeline(stream) if line["kind"] in kinds]

    def calls(self) -> list[tuple[float, str]]:
        """Return time and idempotency key of every call of the recording action, in order."""
        path = home.record_path(self.settings.data_dir)
        assert read_record(path)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [(row["at"], row["idempotency_key"]) for row in rows]

    def close(self) -> None:
        """End everything."""
        self.processes.close()
        self._files_api.stop()
        self.redis.close()


def claimed_at(broker: Redis) -> str:
    """Tell what bridges still hold on a broker of its own; what killed ones hold comes back after their lease."""
    try:
        bridges = cast("list[bytes]", broker.zrange(keys.BRIDGE_LEASES, 0, -1))
        lists = [keys.RAW_QUEUE, *(keys.claimed(each.decode()) for each in bridges)]
        count = sum(int(broker.llen(name)) for name in lists)
    except RedisError:
        return "the broker does not answer"
    return f"{count} at the broker" if count else ""
