"""A Redis user with the least rights that ``docs/deploy.md`` names: everything starts, runs, and is refused nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.checks import run
from tests.component.workers.fleet import Fleet
from tests.component.workers.rig import envelope, sent, viewed
from tests.component.workers.server import RedisServer
from tests.support.brokers import broker_at

pytestmark = [pytest.mark.real_redis, pytest.mark.e2e]

DOCUMENTED = re.compile(r"Least rights.*?`(?P<keys>~[^`]+)` and `(?P<commands>\+[^`]+)`", re.DOTALL)


@dataclass(frozen=True)
class As:
    """The server, as a user sees it."""

    url: str


@pytest.fixture
def user(redis_server: RedisServer, state: Redis) -> As:
    text = (Path(__file__).parents[3] / "docs" / "deploy.md").read_text("utf-8")
    found = DOCUMENTED.search(text)
    assert found is not None
    rights = [*found["keys"].split(), *found["commands"].split()]
    state.execute_command("ACL", "SETUSER", "least", "reset", "on", ">s3cret", *rights)  # type: ignore[no-untyped-call]
    state.execute_command("ACL", "LOG", "RESET")  # type: ignore[no-untyped-call]
    return As(redis_server.url.replace("redis://", "redis://least:s3cret@"))


def test_a_callback_reaches_its_action_and_no_command_is_refused(
    user: As, state: Redis, tmp_path: Path
) -> None:
    fleet = Fleet(user, tmp_path, DEEDBOX_BUILTINS="track_status")
    broker = broker_at(user.url)
    try:
        for words in (
            ("bridge",),
            ("worker", "--lane", "sequencer"),
            ("worker", "--lane", "default"),
            ("sweeper",),
        ):
            fleet.start(*words)
        broker.ping()
        broker.publish_many([envelope(sent()), envelope(viewed(1))])
        assert len(fleet.ended("r1", times=2)) == 2
        environ = {
            "DEEDBOX_REDIS_URL": user.url,
            "DEEDBOX_API_KEYS": "key",
            "DEEDBOX_DATA_DIR": str(tmp_path),
        }
        verdicts = {finding.name: str(finding.verdict) for finding in run(environ, offline=True)}
    finally:
        fleet.close()
    refused = {entry["object"] for entry in state.acl_log()}
    assert refused <= {"config|get"}, "only check asks for the configuration, and can do without"
    assert verdicts["redis"] == verdicts["broker"] == verdicts["broker passage"] == "ok"
