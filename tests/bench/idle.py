"""``python -m tests.bench --only idle``: memory of a whole ``deedbox up``, and its start. Linux only.

Memory is the proportional set size of all its processes with the embedded Redis: a page that n processes share counts 1/n
in each. It is read when everything has been ready for some seconds, and again after callbacks were handled, because a
shared page becomes a process's own when that writes to it. The built-in actions are on; the API that they call refuses
connections, so that its SDK is loaded and no document comes.

Start is from the begin of the command to the first 200 of ``/readyz``, the first start of a run left out: files come from
the page cache. Not measured: a cold disk, actions of a user, documents.
"""

from __future__ import annotations

import http.client
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from deedbox.shared.redis import keys
from tests.bench.generator import Generator
from tests.bench.load import Plan
from tests.bench.payloads import API_KEY, lifecycles, write_file
from tests.bench.processes import HOST, ROOT, BenchError, Crew, free_port

NAME: Final = "idle"
STARTS: Final = (2, 5)
"""Measured ones, after the first: quick, and not."""

EVENTS: Final = 1_000
SETTLE_S: Final = 5.0
HANDLED_WITHIN_S: Final = 120.0

PSS_MAX_MB: Final = 320
READY_WITHIN_S: Final = 2.0


def run(*, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    """Start ``up`` a few times, weigh the last one idle and after events. Prints a table, returns JSON values."""
    del out
    if sys.platform != "linux":
        raise BenchError("only Linux tells the share that a process has of a page")
    home = ROOT / "var" / "bench"
    home.mkdir(parents=True, exist_ok=True)
    count = STARTS[not quick]
    with TemporaryDirectory(dir=home) as name, Crew(Path(name)) as crew:
        starts = [_start(crew, Path(name) / str(number)) for number in range(count)]
        up = _Up(crew, Path(name) / str(count))
        starts.append(up.ready_s)
        idle = up.weighed()
        up.handle(Path(name) / "lives")
        worked = up.weighed()
    console.print(_table(idle, worked))
    return {
        "ready_s": starts[1:],
        "idle": idle,
        "after_events": worked,
        "idle_mb": sum(each["pss_mb"] for each in idle),
        "after_events_mb": sum(each["pss_mb"] for each in worked),
        "target_mb": PSS_MAX_MB,
        "target_ready_s": READY_WITHIN_S,
    }


def _start(crew: Crew, folder: Path) -> float:
    """Start an ``up`` and stop it. Returns the seconds until it was ready."""
    up = _Up(crew, folder)
    crew.stop(up.process)
    return up.ready_s


class _Up:
    """One ``deedbox up`` with a data directory of its own."""

    def __init__(self, crew: Crew, folder: Path) -> None:
        self._crew, self._folder, self._port = crew, folder, free_port()
        settings = {
            "DEEDBOX_API_KEYS": API_KEY, "DEEDBOX_DATA_DIR": str(folder), "PORT": str(self._port),
            "OPS_PORT": str(free_port()), "DEEDBOX_API_URL": f"http://{HOST}:1/v3", "DEEDBOX_MAX_EVENT_AGE_S": "0",
        }  # fmt: skip
        begun = time.monotonic()
        self.process = crew.spawn((str(Path(sys.executable).with_name("deedbox")), "up"), settings)
        crew.wait_for("up", self._answers, pause_s=0.01)
        self.ready_s = time.monotonic() - begun

    def _answers(self) -> bool:
        with closing(http.client.HTTPConnection(HOST, self._port, timeout=2)) as connection:
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def weighed(self) -> list[dict[str, Any]]:
        """Return the memory of each of its processes."""
        time.sleep(SETTLE_S)
        root = psutil.Process(self.process.pid)
        return [found for each in (root, *root.children(recursive=True)) if (found := _weight(each))]

    def handle(self, lives: Path) -> None:
        """Send callbacks, and wait until each was handled."""
        write_file(lives, lifecycles(EVENTS))
        plan = Plan(self._port, str(lives), keep_alive=True, seconds=HANDLED_WITHIN_S, count=EVENTS)
        accepted = Generator(self._crew).offer(plan).accepted
        url = (self._folder / "run" / "redis.url").read_text("utf-8").strip()
        with Redis.from_url(url) as redis:

            def handled() -> bool:
                with suppress(RedisError):
                    return int(redis.hget(keys.COUNTERS, "released") or 0) >= accepted
                return False

            self._crew.wait_for("the events", handled, HANDLED_WITHIN_S)


def _weight(process: psutil.Process) -> dict[str, Any] | None:
    """Return one process's memory; None for one that has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
        words = [word for word in process.cmdline() if word.strip()]
        parent = process.parent()
    except (OSError, psutil.Error):
        return None
    sizes = {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}
    beside = parent is not None and parent.cmdline() == process.cmdline()
    return {
        "process": _named(words) + (" (child)" if beside else ""),
        "pss_mb": sizes["Pss"],
        "private_mb": sizes["Private_Dirty"],
    }


def _named(words: list[str]) -> str:
    if "deedbox.ops.supervise.fork_server" in words:
        return "fork server"
    if "-m" in words:
        return " ".join(words[words.index("-m") + 1 :])
    return Path(words[0]).name if len(words) == 1 or "redis" in words[0] else "up"


def _table(idle: list[dict[str, Any]], worked: list[dict[str, Any]]) -> Table:
    table = Table(
        "MB", "PSS", "private", "PSS after", "private after", title=f"up, idle and after {EVENTS} events"
    )
    later = {each["process"]: each for each in worked}
    for each in idle:
        after = later.get(each["process"], each)
        cells = (each["pss_mb"], each["private_mb"], after["pss_mb"], after["private_mb"])
        table.add_row(each["process"], *(f"{cell:.1f}" for cell in cells))
    table.add_row(
        "all",
        *(
            f"{sum(each[name] for each in rows):.0f}"
            for rows in (idle, worked)
            for name in ("pss_mb", "private_mb")
        ),
    )
    return table
