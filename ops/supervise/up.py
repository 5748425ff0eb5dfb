"""``deedbox up``: everything on one machine, until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from deedbox.ops import variables
from deedbox.ops.sessions import LINK_S, new_link
from deedbox.ops.supervise import processes, supervisor
from deedbox.ops.supervise.fork_client import ForkServer
from deedbox.ops.supervise.programs import Exit
from deedbox.ops.supervise.readiness import StartupCheck, callback_url, metrics_url, ops_url
from deedbox.ops.supervise.reloading import Reloader
from deedbox.ops.supervise.restarts import RestartRecorder
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.documents import open_store
from deedbox.shared.redis import address, connections, embedded, keys
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.runtime import ports
from deedbox.shared.runtime.data_dir import lock_data_dir
from deedbox.shared.settings import Settings

PATIENCE_S: Final = (5.0, 30.0)
"""After so long without an answer, and again after so long, a person is told what is missing; the waiting goes on."""

Say = Callable[[str], None]


def up(
    environ: MutableMapping[str, str], say: Say, forks: ForkServer | None, *, without: Sequence[str] = ()
) -> int:
    """Run the process table until SIGTERM or Ctrl-C; returns the exit code 0.

    ``forks``: what the programs are forks of; None: each imports its code anew, and the workers are started again when
    code below the current directory changed. ``without``: lanes whose workers are not started. ``say`` prints one line and
    never waits. Raises SettingsError, or another DeedboxError if the port cannot be had.
    """
    try:
        with terminable():
            settings = checked(environ)
            for detail, fix in variables.unknown(environ):
                say(f"deedbox: {detail}; {fix}")
            if settings.actions:
                say(f"Importing {', '.join(settings.actions)} (DEEDBOX_ACTIONS).")
            lanes = left(processes.processes_per_lane(processes.learn_lanes(environ, forks)), without)
            if without:
                say(
                    f"Without the lane {', '.join(without)}; start it with `deedbox worker --lane {without[0]}`."
                )
            with lock_data_dir(settings.data_dir):
                return _supervise(settings, lanes, environ, say, forks)
    except KeyboardInterrupt:  # told to stop before anything ran
        return 0


def left(lanes: Mapping[str, int], without: Sequence[str]) -> dict[str, int]:
    """Return the lanes whose workers are started. Raises SettingsError."""
    for lane in without:
        if lane == keys.SEQUENCER:
            raise SettingsError(
                "--without-lane cannot leave out the sequencer: nothing would reach the others."
            )
        if lane not in lanes:
            raise SettingsError(f"--without-lane names {lane}; the lanes are {', '.join(lanes)}.")
    return {lane: count for lane, count in lanes.items() if lane not in without}


def checked(environ: MutableMapping[str, str]) -> Settings:
    """Read and check all settings before anything starts; a port 0 becomes a free port, in ``environ`` too."""
    for name in ("PORT", "OPS_PORT", "DEEDBOX_METRICS_PORT"):
        if environ.get(name, "").strip() == "0":
            environ[name] = str(embedded.free_port())
    settings = Settings.load(environ)
    settings.sources()
    open_store(settings.documents)
    if settings.broker_url is not None:
        from deedbox.shared.broker import brokers  # with kombu, 8 MB of this process for as long as it runs

        brokers.open_broker(brokers.broker_address(settings)).demand()
    if settings.redis_url is not None:
        connections.demand(connections.brisk_redis(connections.redis_address(settings)))
    demand_ports(settings)
    return settings


def demand_ports(settings: Settings) -> None:
    """Check that the web process, its metrics and the ops process will be able to listen. Raises DeedboxError that names the setting."""
    trouble = ports.port_trouble(settings.bind, settings.port) or ports.port_trouble(
        settings.ops_bind, settings.ops_port, names=("OPS_PORT", "DEEDBOX_OPS_BIND")
    )
    if trouble is None and settings.metrics_port is not None:
        names = ("DEEDBOX_METRICS_PORT", "DEEDBOX_METRICS_BIND")
        trouble = ports.port_trouble(settings.metrics_bind, settings.metrics_port, names=names)
    if trouble is not None:
        raise DeedboxError(trouble)


def _supervise(
    settings: Settings,
    lanes: Mapping[str, int],
    environ: Mapping[str, str],
    say: Say,
    forks: ForkServer | None,
) -> int:
    # The table first: it finds out whether there is a Redis server to start.
    programs = processes.table(settings, lanes, environ)
    own_redis = settings.redis_url is None
    redis = (
        address.parse(embedded.prepare(settings.data_dir))
        if own_redis
        else connections.redis_address(settings)
    )
    say(f"Starting {', '.join(_counted(each.name, each.numprocs) for each in programs)}.")
    announcer = _Announcer(settings, redis, lanes, say)
    reloader = Reloader(Path.cwd(), lambda: processes.learn_lanes(environ), say)
    workers = [each.name for each in programs if each.name.startswith("worker-")]
    if forks is None:
        reloader.start()
    try:
        return supervisor.run(
            programs,
            announcer.start,
            on_exit=announcer.tell_exit,
            renew=lambda: workers if reloader.due() else (),
            fork_server=forks,
        )
    finally:
        reloader.stop()
        announcer.stop()
        if own_redis:
            embedded.remove_address(settings.data_dir)


class _Announcer:
    """Says once when everything answers, and what ended meanwhile; it looks and records from its own thread."""

    def __init__(self, settings: Settings, where: RedisAddress, lanes: Mapping[str, int], say: Say) -> None:
        self._settings, self._where, self._lanes, self._say = settings, where, lanes, say
        self._redis = connections.brisk_redis(where)
        self._recorder = RestartRecorder(self._redis)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readiness", daemon=True)
        self._started_at = time.time()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._say("Deedbox has stopped.")

    def tell_exit(self, end: Exit) -> None:
        self._say(f"deedbox: {end}")
        self._recorder.note(end)

    def _run(self) -> None:
        with self._redis:
            self._announce()
            self._recorder.run(self._stop.wait)

    def _announce(self) -> None:
        readiness = StartupCheck(self._settings, self._redis, self._lanes, self._started_at)
        patience = iter(PATIENCE_S)
        patience_s = next(patience)
        while missing := readiness.wait(self._stop, patience_s):
            if self._stop.is_set():
                return
            patience_s = next(patience, patience_s)
            self._say(f"Waiting for {', '.join(missing)}.")
            self._recorder.write()
        if not self._stop.is_set():
            link = new_link(self._settings, ops_url(self._settings))
            self._say("\n".join(announcement(self._settings, self._where, self._lanes, link)))


def announcement(settings: Settings, redis: RedisAddress, lanes: Mapping[str, int], link: str) -> list[str]:
    """Return the lines that tell where everything is. The only secret in them is the sign-in link, which soon is none."""
    url = callback_url(settings)
    others = [name for name in settings.sources() if name != "default"]
    broker = []
    if settings.broker_url is not None:
        from deedbox.shared.broker.brokers import broker_address

        broker = [("broker", str(broker_address(settings)))]
    embedded_note = ", embedded" if settings.redis_url is None else ""
    rows = [
        ("callbacks", url),
        *(("", f"{url}/{name}") for name in others),
        ("dashboard", ops_url(settings)),
        (
            "sign in",
            f"{link} (once, within {LINK_S // 60} minutes; then `deedbox sign-in`)",
        ),
        ("metrics", f"{ops_url(settings)}metrics"),
        *([("", metrics_url(settings))] if settings.metrics_port is not None else []),
        ("redis", f"{redis}{embedded_note}"),
        *broker,
        ("data", str(settings.data_dir.resolve())),
        ("documents", str(settings.documents)),
        ("lanes", ", ".join(_counted(lane, count) for lane, count in lanes.items())),
        (
            "settings",
            ", ".join(f"{name}={value}" for name, value in settings.summary().items()) or "defaults",
        ),
        ("stop", f"Ctrl-C, or SIGTERM to process {os.getpid()}"),
    ]
    return [
        "Deedbox is ready.",
        *(f"  {name:<10} {value}" for name, value in rows),
        f"Next: give Dropbox Sign a public https:// address that leads to {url} as its callback URL;",
        f"or try it from here: deedbox simulate --url {url} --requests 5",
    ]


def _counted(name: str, count: int) -> str:
    return name if count == 1 else f"{name} ({count})"


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, by KeyboardInterrupt, so that files and locks are given back."""

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
