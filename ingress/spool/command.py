"""``python -m deedbox.ingress drain`` and ``python -m deedbox.ingress spool``: the spool of this host without a web process.

What running web processes are writing stays theirs: they drain it themselves.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from deedbox.ingress.publish.broker_memory import Room
from deedbox.ingress.spool.drain import Drained, Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge, Reporter, Usage
from deedbox.shared.broker.brokers import broker_address, open_broker
from deedbox.shared.core.errors import SettingsError, Unavailable
from deedbox.shared.runtime import logs
from deedbox.shared.settings import Settings

USAGE: Final = "usage: python -m deedbox.ingress [drain [--json] | spool [--json]]\n"


def main(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run one of the commands. Returns an exit code: 0 done, 1 something is left, 2 usage or settings."""
    command, *options = arguments
    if command not in {"drain", "spool"} or set(options) - {"--json"}:
        sys.stderr.write(USAGE)
        return 2
    try:
        settings = Settings.load(environ)
        logs.configure(settings.log_format, "drain")
        if command == "spool":
            return _show(Gauge(SpoolDir(settings.data_dir)).usage(), as_json=bool(options))
        return _drain(settings, as_json=bool(options))
    except SettingsError as error:
        sys.stderr.write(f"deedbox: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"deedbox: the spool cannot be read ({error.strerror}); look at DEEDBOX_DATA_DIR.\n")
        return 1


def _drain(settings: Settings, *, as_json: bool) -> int:
    folder = SpoolDir(settings.data_dir)
    publisher = open_broker(broker_address(settings), wait_replicas=settings.redis_wait_replicas)
    room = Room(publisher)
    try:
        found = Drainer(folder, publisher, paused=room.look).drain()
        found.trouble = found.trouble or room.warning
    finally:
        publisher.close()
    folder.tidy()
    with suppress(Unavailable, OSError):  # status shows the old figure until a web process runs again
        Reporter(settings, folder).report(at_once=True)
    rest = Gauge(folder).usage()
    if as_json:
        _print({"drained": dataclasses.asdict(found), "left": dataclasses.asdict(rest)})
    else:
        sys.stdout.write(_sentences(found, rest))
    return 1 if rest.frames or found.trouble or found.unreadable else 0


def _sentences(found: Drained, rest: Usage) -> str:
    lines = [f"{found.published} callbacks went to the broker, {found.set_aside} were set aside."]
    if found.trouble:
        lines.append(f"Stopped: {found.trouble}.")
    if found.unreadable:
        lines.append(f"Could not read all of the spool: {found.unreadable}.")
    if rest.frames:
        lines.append(f"{rest.frames} callbacks ({rest.bytes} bytes) are left.")
        if not found.trouble:
            lines.append("Running web processes hold them, and drain them.")
    return "\n".join(lines) + "\n"


def _show(rest: Usage, *, as_json: bool) -> int:
    if as_json:
        _print(dataclasses.asdict(rest))
    else:
        sys.stdout.write(f"{rest.frames} callbacks, {rest.bytes} bytes, {rest.quarantined} in quarantine.\n")
    return 0


def _print(document: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
