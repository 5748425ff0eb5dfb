"""A sweeper that archives and a sequencer that restores die before and after they do: nothing is lost, doubled or reordered.

What lies between these points is in ``tests/component/workers/test_archive_moments.py``, command by command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.redis import keys
from deedbox.shared.redis.doorbells import Bells
from deedbox.workers.builtins.track_status import registered
from tests.component.conftest import redis_server, state
from tests.component.workers.rig import Deployment, Journal, action, expire, sent, viewed
from tests.component.workers.server import RedisServer
from tests.component.workers.test_archive_moments import settled
from tests.component.workers.test_archives import STREAM
from tests.e2e.crash.harness import Point
from tests.e2e.crash.world import ROOT, SEQUENCER, SWEEPER, Words

__all__ = ["redis_server", "state"]
pytestmark = [pytest.mark.e2e, pytest.mark.real_redis]


def _die(folder: Path, server: RedisServer, words: Words, point: Point) -> None:
    """Run an ordinary process until it dies at a point."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    environment = {
        **kept, "DEEDBOX_REDIS_URL": server.url, "DEEDBOX_API_KEYS": "key", "DEEDBOX_DATA_DIR": str(folder),
        "DEEDBOX_BUILTINS": "track_status",
    }  # fmt: skip
    command = (sys.executable, "-m", "tests.e2e.crash.harness", str(folder), point, "--", *words)
    with (folder / f"{point}.log").open("wb") as log:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, stdout=log, stderr=log, timeout=60, check=False
        )
    assert done.returncode == -signal.SIGKILL, (folder / f"{point}.log").read_text("utf-8")


def test_whoever_archives_or_restores_may_die_before_and_after(
    redis_server: RedisServer, state: Redis, tmp_path: Path
) -> None:
    journal = Journal()
    deployment = Deployment(state, action(journal), registered())
    deployment.deliver(sent(title="Lease"), sent(title="another"), viewed(3, title="Lease"))
    deployment.run()
    before = settled(state)

    for point, archived in ((Point.SWEEPER_BEFORE_ARCHIVE, 0), (Point.SWEEPER_AFTER_ARCHIVE, 1)):
        expire(state, keys.QUIET)
        _die(tmp_path, redis_server, SWEEPER, point)
        assert (state.exists(keys.archive(STREAM)), settled(state)) == (archived, before)

    deployment.deliver(viewed(2), viewed(3, title="Lease"), viewed(9))
    for point, archived in ((Point.SEQUENCER_BEFORE_RESTORE, 1), (Point.SEQUENCER_AFTER_RESTORE, 0)):
        Bells(state).ring(keys.SEQUENCER)
        _die(tmp_path, redis_server, SEQUENCER, point)
        assert (state.exists(keys.archive(STREAM)), settled(state)) == (archived, before)
        expire(state, keys.shards("leased"))
        deployment.sweeper.once()

    deployment = Deployment(state, action(journal), registered())
    deployment.run()
    assert journal.types() == ["sent", "viewed", "viewed!", "viewed"]
    assert len({context.idempotency_key for _, context in journal.calls}) == 4
    kinds = Counter(deployment.kinds())
    assert (kinds["arrived"], kinds["duplicate"], kinds["conflict"], kinds["late"]) == (6, 1, 1, 1)
