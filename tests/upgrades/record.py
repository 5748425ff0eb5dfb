"""Records what a version leaves behind when it is stopped at work: ``python -m tests.upgrades.record LABEL``.

``--checkout`` and ``--package`` record another version than this one: its checkout, and what its modules' names begin
with. A recording that was released stays as it is: each later version reads it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from redis import Redis

from deedbox.ops.demo.evidence import lines_of
from deedbox.shared.redis import keys
from tests.component.workers.server import RedisServer, server_binary, until
from tests.upgrades import redis_text
from tests.upgrades.installation import ROOT, Version, VersionedInstallation
from tests.upgrades.scene import BROKER, FAILING, FINISHED, HELD, INBOX, RETRYING, SPOOLED, Scene

RECORDED: Final = Path(__file__).with_name("recorded")
WORKERS: Final = ("bridge", "sweeper", "sequencer", "default", "documents")
FILES: Final = ("calls.jsonl", "callbacks.json", "redis.jsonl")
INSTALLED: Final = "/srv/deedbox/"
APPLICATION: Final = "/srv/app/"
"""Where recordings say that Deedbox and the user's actions are."""

_LEFT_OUT: Final = ("reserve", "*.lock", "*-shm", "quarantine")


def record(version: Version, folder: Path) -> None:
    """Record a version into a folder, which is emptied first."""
    scene = Scene.draw()
    with ExitStack() as stack:
        at = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (at / "redis").mkdir()
        server = RedisServer(server_binary(), at / "redis")
        server.start()
        stack.callback(server.stop)
        api = scene.files_api()
        api.start()
        stack.callback(api.stop)
        installation = VersionedInstallation(version, server, at, api.url)
        stack.callback(installation.close)
        with server.client() as redis:
            _play(installation, scene, redis, at)
            redis_text.save(redis, at / "redis.jsonl")
            _without_paths(at / "redis.jsonl", version, at)
        server.stop()
        _send(installation, scene, SPOOLED)
        installation.stop("web")
        scene.write(at / "callbacks.json")
        _keep(at, folder)


def _without_paths(file: Path, version: Version, at: Path) -> None:
    """Let tracebacks name no folder of the machine that recorded them."""
    text = file.read_text("utf-8")
    file.write_text(text.replace(f"{version.folder}/", INSTALLED).replace(f"{at}/", APPLICATION), "utf-8")


def _play(installation: VersionedInstallation, scene: Scene, redis: Redis, at: Path) -> None:
    (at / f"fail-{scene.request_id(FAILING)}").touch()
    (at / f"retry-{scene.request_id(RETRYING)}").touch()
    installation.start("web", *WORKERS)
    for name in (FINISHED, FAILING, RETRYING):
        _send(installation, scene, name)
    _send(installation, scene, HELD, since=1)
    waits = {
        "each call that fails is a dead letter": lambda: (
            redis.zcard(keys.DEAD) == len(scene.callbacks[FAILING])
        ),
        "events are held": lambda: redis.zcard(keys.HELD) == len(scene.callbacks[HELD]) - 1,
        "the documents are stored": lambda: len(list((at / "data" / "documents").glob("*/*/*.pdf"))) == 3,
        "they are announced": lambda: _timelines(redis, scene, "document") == 3,
        "a call waits for its retry": lambda: _timelines(redis, scene, "retry") > 0,
        "calls were made": lambda: _calls(at) == len(scene.callbacks[FINISHED]),
    }
    for what, condition in waits.items():
        until(condition, f"{what}\n{installation.log()}")
    installation.stop("sequencer")
    _send(installation, scene, INBOX)
    until(lambda: _inbox(redis) == len(scene.callbacks[INBOX]), "callbacks are in the inbox")
    installation.stop("bridge")
    _send(installation, scene, BROKER)
    installation.stop("sweeper", "default", "documents")


def _send(installation: VersionedInstallation, scene: Scene, name: str, since: int = 0) -> None:
    for callback in scene.callbacks[name][since:]:
        until(
            partial(installation.post, callback),
            f"{name} is acknowledged\n{installation.log()}",
        )


def _timelines(redis: Redis, scene: Scene, kind: str) -> int:
    streams = [f"default:signature_request/{scene.request_id(name)}" for name in scene.callbacks]
    return sum(line["kind"] == kind for stream in streams for line in lines_of(redis, stream))


def _inbox(redis: Redis) -> int:
    return sum(redis.llen(name) for name in redis.scan_iter(keys.PREFIX + "inbox:*"))


def _calls(at: Path) -> int:
    path = at / "calls.jsonl"
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


def _keep(at: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(at / name, folder / name)
    for name in ("spool", "documents"):
        shutil.copytree(at / "data" / name, folder / name, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def main(arguments: Sequence[str] | None = None) -> int:
    """Record one version."""
    parser = argparse.ArgumentParser(prog="python -m tests.upgrades.record", description=__doc__)
    parser.add_argument("label", help="name of the recording: the version")
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--package", default="deedbox.")
    found = parser.parse_args(arguments)
    record(Version(found.checkout.resolve(), found.package), RECORDED / found.label)
    sys.stdout.write(f"{RECORDED / found.label}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
