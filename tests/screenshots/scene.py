"""A running ``deedbox up`` as operators meet it: traffic, dead letters, held events, a destination away, a pause, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import urllib3
from redis import Redis

from deedbox.ops.sessions import new_link
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.settings import Settings
from deedbox.testing import callback
from tests.browser import world
from tests.support.waiting import until

ROOT: Final = Path(__file__).parents[2]
DEEDBOX: Final = Path(sys.executable).with_name("deedbox")
API_KEY: Final = "k" * 64
SECRET: Final = "whsec_" + "c2NyZWVuc2hvdHMgb2YgdGhlIGRhc2hib2FyZA=="
HELD: Final = "4f0a17c2b9e84d2f9c1be7f3a2"
DEADLINE_S: Final = 120.0


@dataclass(frozen=True)
class Scene:
    """The running installation."""

    ops: str
    environ: dict[str, str]
    redis: Redis

    def link(self) -> str:
        """Return a link that signs a browser in."""
        return new_link(Settings.load(self.environ), self.ops + "/")

    def command(self, *words: str) -> None:
        """Run a command of Deedbox."""
        command = [str(DEEDBOX), *words]
        subprocess.run(command, env=self.environ, cwd=ROOT, check=True, capture_output=True)


class _Receiver(BaseHTTPRequestHandler):
    """A destination that takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def running(folder: Path) -> Iterator[Scene]:
    """Start everything, play the traffic, wait until what the pictures show is there; end it."""
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    Thread(target=receiver.serve_forever, daemon=True).start()
    port, ops_port, api_port, nothing = (free_port() for _ in range(4))
    destinations = {
        "archive": {
            "url": f"http://127.0.0.1:{receiver.server_port}/sign",
            "secret": SECRET,
            "allow_private": True,
        },
        "warehouse": {"url": f"http://127.0.0.1:{nothing}/hook", "secret": SECRET, "allow_private": True},
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    environ = kept | {
        "PORT": str(port), "OPS_PORT": str(ops_port), "DEEDBOX_DATA_DIR": str(folder), "DEEDBOX_API_KEYS": API_KEY,
        "DEEDBOX_ACTIONS": "tests.screenshots.callbacks", "DEEDBOX_DESTINATIONS": json.dumps(destinations),
        "DEEDBOX_API_URL": f"http://127.0.0.1:{api_port}/v3", "DEEDBOX_HOLD_S": "900", "DEEDBOX_HOLD_MAX_S": "1800",
        "DEEDBOX_FILES_PER_MINUTE": "1000", "DEEDBOX_TEST_FILES_PER_MINUTE": "1000", "DEEDBOX_API_PER_MINUTE": "1000",
    }  # fmt: skip
    with suppress(KeyboardInterrupt), (folder / "up.log").open("w") as log:
        up = subprocess.Popen([str(DEEDBOX), "up"], env=environ, cwd=ROOT, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _ready(url, f"http://127.0.0.1:{ops_port}", up), "up is ready", DEADLINE_S)
            redis = Redis.from_url((folder / "run" / "redis.url").read_text().strip())
            scene = Scene(f"http://127.0.0.1:{ops_port}", environ, redis)
            _play(scene, url, api_port)
            yield scene
        finally:
            up.terminate()
            up.wait(60)
            receiver.shutdown()


def _ready(web: str, ops: str, up: subprocess.Popen[bytes]) -> bool:
    assert up.poll() is None, "up ended; see up.log"
    try:
        return all(
            urllib3.request("GET", url, retries=False, timeout=5).status == 200
            for url in (f"{web}/readyz", f"{ops}/healthz")
        )
    except urllib3.exceptions.HTTPError:
        return False


def _play(scene: Scene, url: str, api_port: int) -> None:
    world.history(scene.redis)
    simulated = ["simulate", "--url", f"{url}/callbacks", "--requests", "60", "--rate", "60", "--seed", "11",
                 "--delay", "0.5", "--api-port", str(api_port), "--stay", "8"]  # fmt: skip
    scene.command(*simulated)
    # The first event of this one never comes, so the others are held.
    for event_type in ("signature_request_viewed", "signature_request_signed"):
        _post(url, callback(event_type, request_id=HELD, api_key=API_KEY))
    scene.command("pause", "action", "mail.welcome", "--why", "the new text is reviewed until noon")
    _post(url, callback("signature_request_sent", request_id=f"9{HELD[1:]}", api_key=API_KEY))
    # A rotated key: refused.
    for number in range(3):
        _post(url, callback("signature_request_viewed", request_id=f"{number}{HELD[1:]}", api_key="x" * 64))
    until(lambda: scene.redis.zcard(keys.HELD) >= 1, "events are held", DEADLINE_S)
    until(lambda: scene.redis.zcard(keys.DEAD) >= 8, "dead letters are filed", DEADLINE_S)
    time.sleep(3)  # a report of web and a look of ops lie behind


def _post(url: str, sent: Any) -> None:
    urllib3.request(
        "POST", f"{url}/callbacks", body=sent.body, headers=sent.headers, retries=False, timeout=30
    )
