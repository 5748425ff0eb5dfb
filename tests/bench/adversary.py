"""``python -m tests.bench.adversary [--tree PATH]``: what attackers cost a genuine document, state and API calls.

Each attacker meets a whole ``deedbox up`` with its default budgets, on a Redis of its own, and the simulated API. After the
attack one genuine callback arrives, signed by the vendor. The table says how long its document took, what the attack left in
Redis, and how many API calls it caused within that time. ``--tree`` measures another checkout by the same script.

Does not measure: attackers that go on while the genuine callback waits, except slow senders, who stay.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import urllib3
from redis import Redis

from deedbox.shared.core.signature import content_sha256, event_hash
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from tests.component.workers.fetch_desk import shown
from tests.component.workers.server import RedisServer, server_binary

KEY: Final = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"
TYPE: Final = "signature_request_downloadable"
FORGED: Final = 300
JUNK: Final = 2_000
SLOW: Final = 64
PATIENCE_S: Final = 420.0
ROOT: Final = Path(__file__).parents[2]


@dataclass
class Stage:
    """A running deployment."""

    url: str
    folder: Path
    api: FilesApi
    redis: Redis
    http: urllib3.PoolManager
    now: int

    def post(self, text: bytes, **headers: str) -> int:
        """Send a callback. Returns the status."""
        found = self.http.request(
            "POST", self.url, fields={"json": text.decode()}, headers=headers, timeout=30
        )
        return int(found.status)

    def callback(self, request_id: str, at: int, known_hash: str) -> bytes:
        """Return a callback that says that a request is complete."""
        event = {"event_type": TYPE, "event_time": str(at), "event_hash": known_hash}
        request = {
            "signature_request_id": request_id,
            "created_at": at - 60,
            "is_complete": True,
            "title": "Lease",
        }
        return json.dumps({"event": event, "signature_request": request}).encode()

    def document_of(self, request_id: str) -> bool:
        """Tell whether a document of a request is stored."""
        return any(path.parent.name == request_id for path in (self.folder / "documents").rglob("*.pdf"))


Attack = Callable[[Stage, ExitStack], None]


def _knows_a_hash(stage: Stage, _stack: ExitStack) -> None:
    known = event_hash(KEY, str(stage.now), TYPE)
    for number in range(FORGED):
        stage.post(stage.callback(f"forged{number}", stage.now, known))


def _knows_the_key(stage: Stage, _stack: ExitStack) -> None:
    known = event_hash(KEY, str(stage.now), TYPE)
    for number in range(FORGED):
        text = stage.callback(f"forged{number}", stage.now, known)
        stage.post(text, **{"Content-Sha256": content_sha256(KEY, text)})


def _sends_junk(stage: Stage, _stack: ExitStack) -> None:
    for _ in range(JUNK):
        stage.post(b"junk")


def _sends_slowly(stage: Stage, stack: ExitStack) -> None:
    where = urllib3.util.parse_url(stage.url)
    for _ in range(SLOW):
        link = stack.enter_context(socket.create_connection((str(where.host), int(where.port or 80)), 10))
        link.sendall(b"POST /callbacks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na")


def _nobody(_stage: Stage, _stack: ExitStack) -> None:
    """Leave it in peace."""


ATTACKS: Final[dict[str, Attack]] = {
    "nobody": _nobody,
    f"knows one hash: {FORGED} forged": _knows_a_hash,
    f"knows the tenant's key: {FORGED} forged": _knows_the_key,
    f"sends junk: {JUNK}": _sends_junk,
    f"sends slowly: {SLOW} connections": _sends_slowly,
}


@contextmanager
def _running(tree: Path, entry: str, folder: Path) -> Iterator[Stage]:
    (folder / "redis").mkdir()
    server, port = RedisServer(server_binary(), folder / "redis"), free_port()
    api = FilesApi(Account(KEY), FilesApiPolicy(not_ready_max=0))
    server.start()
    api.start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")} | {
        "PYTHONPATH": str(tree), "PORT": str(port), "OPS_PORT": str(free_port()), "DEEDBOX_API_KEYS": KEY,
        "DEEDBOX_API_URL": api.url, "DEEDBOX_REDIS_URL": server.url, "DEEDBOX_DATA_DIR": str(folder / "var"),
        "DEEDBOX_HOLD_S": "1", "DEEDBOX_DOWNLOADABLE_GRACE_S": "1",
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        up = subprocess.Popen(
            [sys.executable, "-c", f"from {entry} import main; main()", "up"],
            env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        with urllib3.PoolManager(retries=False) as http, server.client() as redis:
            stage = Stage(
                f"http://127.0.0.1:{port}/callbacks", folder / "var", api, redis, http, int(time.time())
            )
            if not _wait(lambda: _answers(http, port), 240):
                raise SystemExit((folder / "log").read_text("utf-8", "replace")[-2000:])
            time.sleep(3)  # the workers start beside ingress
            yield stage
    finally:
        up.terminate()
        with suppress(subprocess.TimeoutExpired):
            up.wait(60)
        up.kill()
        api.stop()
        server.stop()


def _answers(http: urllib3.PoolManager, port: int) -> bool:
    try:
        return int(http.request("GET", f"http://127.0.0.1:{port}/healthz", timeout=2).status) == 200
    except urllib3.exceptions.HTTPError:
        return False


def _wait(condition: Callable[[], bool], patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _measured(tree: Path, entry: str, attack: Attack) -> str:
    with TemporaryDirectory() as name, _running(tree, entry, Path(name)) as stage, ExitStack() as stack:
        stage.api.state.put(shown("genuine"))
        before = int(stage.redis.info("memory")["used_memory"])
        attack(stage, stack)
        time.sleep(2)
        grown = int(stage.redis.info("memory")["used_memory"]) - before
        genuine = stage.callback("genuine", stage.now + 1, event_hash(KEY, str(stage.now + 1), TYPE))
        begun = time.monotonic()
        status = stage.post(genuine, **{"Content-Sha256": content_sha256(KEY, genuine)})
        stored = _wait(lambda: stage.document_of("genuine"), PATIENCE_S)
        took_s = time.monotonic() - begun
        calls = sum(stage.api.calls().values())
        delay = f"{took_s:.1f} s" if stored else f"over {PATIENCE_S:.0f} s"
        return f"answered {status}, document after {delay}, Redis +{grown / 1024:.0f} KiB, {calls} API calls"


def main() -> None:
    """Play every attacker, and print a line about each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.adversary", description=__doc__)
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--entry", default="deedbox.ops.cli", help="the module there that has the command")
    parser.add_argument("--only", choices=sorted(ATTACKS), help="this attacker only")
    options = parser.parse_args()
    for name, attack in ATTACKS.items():
        if options.only in {None, name}:
            sys.stdout.write(f"{name}: {_measured(options.tree.resolve(), options.entry, attack)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
