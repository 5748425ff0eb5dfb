"""``python -m deedbox.workers``: one worker process. People use ``deedbox worker``, ``deedbox bridge``, ``deedbox sweeper``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, Final

from redis.exceptions import RedisError

from deedbox.shared import sealing
from deedbox.shared.alerts.targets import demand
from deedbox.shared.command_options import CallbackUrlOptions, CallOptions, ReconcileOptions
from deedbox.shared.core.errors import DeedboxError, SettingsError, Unavailable
from deedbox.shared.redis import keys
from deedbox.shared.runtime import logs, memory, stopping, telemetry
from deedbox.shared.settings import SETTINGS_SHOWN, Settings
from deedbox.workers import rq_worker
from deedbox.workers.actions.loading import misspellings
from deedbox.workers.commands import call, callback_url, reconcile
from deedbox.workers.process import Process, build_registry, describe_builtin, install

log = logs.get("worker")

LEFT_BEHIND_S: Final = 3.0
"""How long the end of a process waits for threads that an action has started."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one process. Returns the exit code: 0 ok, 1 failed, 2 usage or settings."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.load(os.environ)
        logs.configure(settings.log_format, arguments.command)
        telemetry.configure(settings, arguments.command)
        sealing.configure(settings)
        return int(arguments.run(Process(settings), arguments))
    except SettingsError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        return 2
    except DeedboxError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        return 1
    except KeyboardInterrupt:  # of the command that a person runs; the others have handlers
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deedbox.workers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("worker", help="run the work of one lane")
    worker.add_argument("--lane", required=True)
    worker.set_defaults(run=_worker)
    commands.add_parser("bridge", help="move callbacks from the broker into the inbox").set_defaults(
        run=_bridge
    )
    commands.add_parser("sweeper", help="wake what is due").set_defaults(run=_sweeper)
    for name, run, options in (
        ("reconcile", reconcile.run, ReconcileOptions),
        ("callback-url", callback_url.run, CallbackUrlOptions),
        ("call", call.run, CallOptions),
    ):
        command = commands.add_parser(name, help=f"do what `deedbox {name}` was told")
        command.add_argument("options", type=options.load)
        command.set_defaults(run=partial(_with_options, run))
    lanes = commands.add_parser("lanes", help="list lanes and actions")
    lanes.add_argument("--json", action="store_true")
    lanes.set_defaults(run=_lanes)
    return parser


def _with_options(run: Callable[[Process, Any], int], process: Process, arguments: argparse.Namespace) -> int:
    return run(process, arguments.options)


def _worker(process: Process, arguments: argparse.Namespace) -> int:
    # RQ has its own handlers, but only once it has signed on in Redis, which may be away by then.
    _stop_on_signals(process)
    lane = process.lane = arguments.lane
    if lane != keys.SEQUENCER:
        process.stand_by(lane)
    known = process.registry.lanes
    if lane == keys.ALERTS_LANE and lane not in known:
        raise SettingsError(
            "The lane alerts has nothing to do: DEEDBOX_ALERT_URLS is not set, or DEEDBOX_BUILTINS leaves out alert."
        )
    if lane not in known:
        raise SettingsError(
            f"No registered action names the lane {lane}; the lanes are {', '.join(known)}. "
            "Correct --lane, DEEDBOX_ACTIONS or DEEDBOX_BUILTINS."
        )
    if lane == keys.ALERTS_LANE:
        demand(process.settings)
    for warning in (
        each for action in process.registry.actions if action.lane == lane for each in misspellings(action)
    ):
        log.warning("action.type_unknown", detail=warning)
    logs.show_application(process.settings.actions)
    process.announce(lane)
    process.keep_announced(lane)
    install(process)
    log.info("worker.started", lane=lane, **_settings_once(process))
    worker = rq_worker.build(lane, process.redis, process.name, process.ask_to_stop)
    announcer = process.announcer(lane)
    announcer.start()
    memory.settle()
    try:
        worker.work(logging_level="WARNING")
        announcer.end()
    except (RedisError, Unavailable) as error:  # it signs off in Redis, which may be away
        log.warning("worker.left_without_sign_off", error=type(error).__name__)
    # A worker that ends without having been asked lost Redis for too long: its supervisor starts another.
    return 0 if process.stop.is_set() else 1


def _bridge(process: Process, _arguments: argparse.Namespace) -> int:
    _stop_on_signals(process)
    bridge = process.bridge()
    log.info("bridge.started", **_settings_once(process))
    memory.settle()
    bridge.run(process.stop.is_set)
    return 0


def _sweeper(process: Process, _arguments: argparse.Namespace) -> int:
    _stop_on_signals(process)
    sweeper = process.sweeper()
    log.info("sweeper.started")
    memory.settle()
    sweeper.run(process.stop.is_set, lambda wait_s: (process.stop.wait(wait_s), None)[1])
    return 0


def _lanes(process: Process, arguments: argparse.Namespace) -> int:
    settings = process.settings
    registry = build_registry(settings, lambda name: describe_builtin(name, settings.alert_types))
    if keys.ALERTS_LANE in registry.lanes:
        demand(settings)
    for warning in (each for action in registry.actions for each in misspellings(action)):
        sys.stderr.write(f"deedbox: {warning}\n")
    if arguments.json:
        sys.stdout.write(json.dumps({"lanes": registry.lanes, "actions": registry.describe()}) + "\n")
        return 0
    for row in registry.describe():
        sys.stdout.write(f"{row['lane']:<12} {row['name']:<40} {', '.join(row['types'])}\n")
    return 0


def _settings_once(process: Process) -> dict[str, object]:
    return {} if os.environ.get(SETTINGS_SHOWN) else {"settings": process.settings.summary()}


def _stop_on_signals(process: Process) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        process.ask_to_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def program() -> int:
    """Run one process to its end. Returns the exit code."""
    status = main()
    # Threads that an action left behind, hung, would be waited for.
    stopping.end_within(LEFT_BEHIND_S, lambda: None, status)
    return status


if __name__ == "__main__":
    sys.exit(program())
