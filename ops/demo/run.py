"""``deedbox demo``: the process table plus a simulated Dropbox Sign, judged by its traces.

The main thread supervises the processes, because it owns the signals; its own thread goes through the demo.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from rich.console import Console

from deedbox.ops.demo import home, view
from deedbox.ops.demo.course import LANES, Course, Stopped
from deedbox.ops.demo.report import DemoReport
from deedbox.ops.demo.scenario import Scenario
from deedbox.ops.sessions import new_link
from deedbox.ops.supervise import processes, supervisor
from deedbox.ops.supervise.fork_client import ForkServer
from deedbox.ops.supervise.programs import Exit
from deedbox.ops.supervise.readiness import callback_url, ops_url
from deedbox.ops.supervise.up import terminable
from deedbox.shared.redis import address, connections, embedded
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.runtime import stopping
from deedbox.shared.settings import Settings

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says."""

    requests: int = 60
    seed: int | None = None
    json: bool = False
    """Print the report as one JSON object on stdout, and everything else on stderr."""
    keep: bool = False
    """Leave everything running after the report, until it is told to stop."""


def run(options: DemoOptions, environ: MutableMapping[str, str]) -> int:
    """Run the demo; returns the exit code: 0 if every promise was kept, else 1.

    ``environ`` is changed: the processes inherit it. Raises KeyboardInterrupt if it was told to stop before its
    report, and DeedboxError if it could not run.
    """
    data_dir = home.directory(environ)
    with terminable(), home.claimed(data_dir):
        seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
        scenario = Scenario.draw(options.requests, seed)
        api_port = home.isolate(environ, data_dir, scenario.account.api_key)
        settings = Settings.load(environ)
        programs = processes.table(settings, processes.processes_per_lane(LANES), environ)
        where = address.parse(embedded.prepare(data_dir))
        driver = _Driver(options, settings, scenario, where, api_port)
        try:
            with ForkServer(environ) as forks:
                supervisor.run(
                    programs, driver.start, on_exit=driver.note_exit, logs=settings.run_dir, fork_server=forks
                )
        finally:
            driver.join()
            embedded.remove_address(data_dir)
    return driver.exit_code()


class _Driver:
    """Runs the course in a thread and tells its report; then the supervision is asked to stop everything."""

    def __init__(
        self, options: DemoOptions, settings: Settings, scenario: Scenario, where: RedisAddress, api_port: int
    ) -> None:
        self._options, self._settings, self._scenario = options, settings, scenario
        self._where, self._api_port = where, api_port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo", daemon=True)
        self._restarts: Counter[str] = Counter()
        self._began_at = time.time()
        self._report: DemoReport | None = None
        self._error: BaseException | None = None
        self._console = Console(stderr=options.json)

    def start(self) -> None:
        """Begin; called in the main thread, once everything has been started."""
        self._notice_signals()
        self._thread.start()

    def _notice_signals(self) -> None:
        """Let the course end as soon as a stop is asked for, not when the last process has ended."""
        for number in _STOP_SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, partial(self._stop_and, before))

    def _stop_and(self, handle: Callable[[int, Any], object], number: int, frame: object) -> None:
        stopping.ask(self._stop)
        handle(number, frame)

    def note_exit(self, end: Exit) -> None:
        """Count a process that ended without having been told to."""
        self._restarts[end.name] += 1

    def join(self) -> None:
        """Wait for the thread to end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def exit_code(self) -> int:
        """Return the exit code. Raises what ended the demo before its report."""
        if self._error is not None:
            raise self._error
        if self._report is None:
            raise KeyboardInterrupt
        return 0 if self._report.clean else 1

    def _run(self) -> None:
        try:
            self._drive()
        except Stopped:
            pass
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised in the main thread, once everything has stopped
            self._error = error
        if not self._stop.is_set():
            supervisor.request_stop()

    def _drive(self) -> None:
        files_api = self._scenario.files_api(callback_url(self._settings))
        files_api.start(self._api_port)
        try:
            with connections.brisk_redis(self._where) as redis, view.meter(self._console) as meter:
                course = Course(
                    settings=self._settings,
                    scenario=self._scenario,
                    files_api=files_api,
                    redis=redis,
                    meter=meter,
                    stop=self._stop,
                    restarts=self._restarts,
                    began_at=self._began_at,
                )
                report = course.run()
            self._tell(report)
            self._report = report
            if self._options.keep:
                self._stop.wait()
        finally:
            files_api.stop()

    def _tell(self, report: DemoReport) -> None:
        data_dir, keep = self._settings.data_dir, self._options.keep
        if self._options.json:
            sys.stdout.write(json.dumps(report.as_json()) + "\n")
            sys.stdout.flush()
        else:
            view.show(self._console, report, data_dir)
        if keep or not self._options.json:
            # Without `keep` nothing is left to sign in to.
            link = new_link(self._settings, ops_url(self._settings)) if keep else ""
            places = view.Places(data_dir, callback_url(self._settings), link)
            view.hint(self._console, report, places, keep=keep)
