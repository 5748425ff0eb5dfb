"""``python -m deedbox.ingress drain`` and ``spool``: the spool of this host without a web process.

All of it is safe beside running web processes.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from deedbox.ingress.publish.broker_memory import Room
from deedbox.ingress.spool.drain import Drainer, SpoolDrained
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.quarantine import Quarantine, QuarantinedCallback
from deedbox.ingress.spool.state_redis import StateRedis
from deedbox.ingress.spool.usage import Gauge, Reporter, Usage
from deedbox.shared.audit import AuditedOperation
from deedbox.shared.audit.audit_log import AuditLog, operator
from deedbox.shared.broker.brokers import broker_address, open_broker
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings

USAGE: Final = (
    "usage: python -m deedbox.ingress [drain [--json] | spool [--json] | redrive ID... | discard ID...]\n"
)
PATIENCE_S: Final = 15.0
"""How long to wait for a web process that drains: it lets go at least every 5 s."""
AGAIN_S: Final = 0.1


def main(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run one of the commands. Returns an exit code: 0 done, 1 something is left, 2 usage or settings."""
    command, *options = arguments
    numbers = [int(option) for option in options if option.isdecimal()]
    json_wanted = options == ["--json"]
    known = (
        not options or json_wanted
        if command in {"drain", "spool"}
        else options and len(numbers) == len(options)
    )
    if command not in {"drain", "spool", "redrive", "discard"} or not known:
        sys.stderr.write(USAGE)
        return 2
    try:
        settings = Settings.load(environ)
        logs.configure(settings.log_format, "drain")
        folder = SpoolDir(settings.data_dir)
        folder.demand_readable()
        if command == "drain":
            return _drain(settings, folder, as_json=json_wanted)
        if command == "spool":
            return _show(folder, as_json=json_wanted)
        return _change(settings, folder, command, numbers)
    except SettingsError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"deedbox: the spool cannot be read ({error.strerror}); look at DEEDBOX_DATA_DIR.\n")
        return 1


def _drain(settings: Settings, folder: SpoolDir, *, as_json: bool) -> int:
    publisher = open_broker(broker_address(settings), wait_replicas=settings.redis_wait_replicas)
    room = Room(publisher)
    gauge = Gauge(folder)
    try:
        with _audit(settings).operation(AuditedOperation.DRAIN_SPOOL, host=socket.gethostname()) as done:
            found = _drain_all(Drainer(folder, publisher, paused=room.look), gauge)
            done.count = found.published
        found.trouble = found.trouble or room.warning
    finally:
        publisher.close()
    with suppress(Unavailable, OSError):  # status shows the old figure until a web process runs again
        Reporter(settings, folder).report(at_once=True)
    rest = gauge.usage()
    if as_json:
        _print({"drained": dataclasses.asdict(found), "left": dataclasses.asdict(rest)})
    else:
        sys.stdout.write(_sentences(found, rest))
    return 1 if rest.callbacks or found.trouble or found.unreadable else 0


def _drain_all(drainer: Drainer, gauge: Gauge) -> SpoolDrained:
    """Drain; while a web process does, wait for it, and once more if the disk made trouble."""
    until = time.monotonic() + PATIENCE_S
    found = drainer.drain()
    tries = 0
    while (found.busy and time.monotonic() < until and gauge.usage().callbacks) or (
        found.unreadable and not tries
    ):
        tries += not found.busy
        time.sleep(AGAIN_S)
        more = drainer.drain()
        more.published += found.published
        more.set_aside += found.set_aside
        found = more
    drainer.close()
    return found


def _sentences(found: SpoolDrained, rest: Usage) -> str:
    lines = [f"Published: {found.published}. Set aside: {found.set_aside}."]
    if found.trouble:
        lines.append(f"Stopped: {found.trouble}.")
    if found.unreadable:
        lines.append(f"The disk of the spool failed: {found.unreadable}.")
    if rest.callbacks:
        lines.append(f"Left: {rest.callbacks} ({rest.bytes} bytes).")
        if found.busy:
            lines.append("A web process of this host drains them.")
    return "\n".join(lines) + "\n"


def _show(folder: SpoolDir, *, as_json: bool) -> int:
    rest = Gauge(folder).usage()
    aside = Quarantine(folder).all() if rest.quarantined else []
    if as_json:
        _print(dataclasses.asdict(rest) | {"aside": [dataclasses.asdict(each) for each in aside]})
        return 0
    sys.stdout.write(f"Callbacks: {rest.callbacks} ({rest.bytes} bytes). Set aside: {rest.quarantined}.\n")
    sys.stdout.writelines(_line(each) for each in aside)
    return 0


def _line(each: QuarantinedCallback) -> str:
    where = "a dead letter too" if each.is_letter else "no dead letter yet"
    return f"  {each.id}: {each.reason}, {each.bytes} bytes, {where}. {each.detail}\n"


def _change(settings: Settings, folder: SpoolDir, command: str, numbers: Sequence[int]) -> int:
    quarantine = Quarantine(folder)
    change = quarantine.redrive if command == "redrive" else quarantine.discard
    name = AuditedOperation.REDRIVE_SPOOL if command == "redrive" else AuditedOperation.DISCARD_SPOOL
    with _audit(settings).operation(name, host=socket.gethostname(), ids=numbers) as tally:
        missing = [number for number in numbers if not (folder.exists() and change(number))]
        tally.count = len(numbers) - len(missing)
    done = "Published with the next drain" if command == "redrive" else "Removed"
    sys.stdout.write(f"{done}: {len(numbers) - len(missing)}.\n")
    if missing:
        sys.stderr.write(f"deedbox: nothing was set aside as {', '.join(map(str, missing))}.\n")
    return 1 if missing else 0


def _audit(settings: Settings) -> AuditLog:
    return AuditLog(StateRedis(settings).scripts, operator())


def _print(document: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
