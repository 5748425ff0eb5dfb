"""The processes of one version on one Redis, and the actions of a user: what a recording is made with, and read by."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3

from deedbox.shared.redis.embedded import free_port
from deedbox.shared.simulator.lifecycle import SimulatedCallback
from deedbox.shared.simulator.wire import multipart_request
from tests.component.workers.server import RedisServer

ROOT: Final = Path(__file__).parents[2]
API_KEY: Final = "5" * 64
NOTE: Final = "note"
SLOW: Final = "slow"

_MODULE: Final = f"""
import json, os, time
from pathlib import Path
from PUBLIC import Retry, action

FOLDER = Path(os.environ["UPGRADE_FOLDER"])

def write_down(name, event, context):
    row = {{
        "action": name, "idempotency_key": context.idempotency_key, "type": event.type, "time": event.time,
        "source": event.source, "key": event.ordering_key, "signature_request_id": event.signature_request_id,
        "related_signature_id": event.related_signature_id, "late": event.late, "body_signature": event.body_signature,
    }}
    with (FOLDER / "calls.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")

@action("signature_request_*", name="{NOTE}", attempts=1)
def note(event, context):
    if (FOLDER / f"fail-{{event.signature_request_id}}").exists():
        raise ValueError("as the test wanted")
    if (FOLDER / f"retry-{{event.signature_request_id}}").exists():
        raise Retry("as the test wanted", after=5)
    write_down("{NOTE}", event, context)

@action("signature_request_*", name="{SLOW}", lane="{SLOW}")
def slow(event, context):
    write_down("{SLOW}", event, context)
"""


@dataclass(frozen=True)
class Version:
    """Where the code of a version is."""

    folder: Path = ROOT
    """Its checkout."""
    package: str = "deedbox."
    """What its modules' names begin with; empty before 0.2.0."""


class VersionedInstallation:
    """Starts and ends processes of one version, each by its name."""

    def __init__(
        self, version: Version, server: RedisServer, folder: Path, api_url: str, **more: str
    ) -> None:
        self._version, self._folder = version, folder
        self.data_dir, self.port = folder / "data", free_port()
        self.data_dir.mkdir(exist_ok=True)
        public = "deedbox" if version.package else "workers.actions"
        (folder / "upgrade_actions.py").write_text(_MODULE.replace("PUBLIC", public), "utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
        self.environment = {
            **kept,
            "PYTHONPATH": f"{version.folder}{os.pathsep}{folder}",
            "UPGRADE_FOLDER": str(folder),
            "PORT": str(self.port),
            "DEEDBOX_REDIS_URL": server.url, "DEEDBOX_API_KEYS": API_KEY, "DEEDBOX_API_URL": api_url,
            "DEEDBOX_DATA_DIR": str(self.data_dir), "DEEDBOX_ACTIONS": "upgrade_actions",
            "DEEDBOX_BUILTINS": "fetch_documents,track_status", "DEEDBOX_HOLD_S": "600",
            "DEEDBOX_DOWNLOADABLE_GRACE_S": "1", "DEEDBOX_GAP_AFTER_S": "0",
            "DEEDBOX_FILES_PER_MINUTE": "9999", "DEEDBOX_TEST_FILES_PER_MINUTE": "9999", "DEEDBOX_API_PER_MINUTE": "9999",
            # A recording may be years old when it is read.
            "DEEDBOX_STATE_RETENTION_DAYS": "3650", "DEEDBOX_EVENT_RETENTION_DAYS": "3650",
            **more,
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (folder / "log").open("ab")

    def command(self, name: str) -> Sequence[str]:
        """Return the command of a process: ``web``, ``bridge``, ``sweeper``, or a lane."""
        if name == "web":
            return [sys.executable, "-m", f"{self._version.package}ingress"]
        words = [name] if name in {"bridge", "sweeper"} else ["worker", "--lane", name]
        return [sys.executable, "-m", f"{self._version.package}workers", *words]

    def start(self, *names: str) -> None:
        """Start these."""
        for name in names:
            self._processes[name] = subprocess.Popen(
                self.command(name), env=self.environment, cwd=self._folder,
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            )  # fmt: skip

    def stop(self, *names: str) -> None:
        """End these as a deployment does."""
        for name in names:
            self._processes[name].terminate()
        for name in names:
            self._processes.pop(name).wait()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this version to its end."""
        return subprocess.run(
            command, env=self.environment, cwd=self._folder, capture_output=True, text=True, check=False, timeout=120
        )  # fmt: skip

    def post(self, callback: SimulatedCallback) -> bool:
        """Send a callback; returns whether it was acknowledged."""
        wire = multipart_request(callback.json_text, API_KEY)
        with urllib3.PoolManager(retries=False, timeout=10) as connections:
            try:
                answer = connections.request(
                    "POST", f"http://127.0.0.1:{self.port}/callbacks", body=wire.body, headers=dict(wire.headers)
                )  # fmt: skip
            except urllib3.exceptions.HTTPError:
                return False
        return answer.status == 200 and b"Hello API Event Received" in answer.data

    def log(self) -> str:
        """Return what the processes said last."""
        return (self._folder / "log").read_text("utf-8", "replace")[-4000:]

    def close(self) -> None:
        """End whatever runs."""
        self.stop(*self._processes)  # a web process that is killed leaves its children behind
        self._log.close()
