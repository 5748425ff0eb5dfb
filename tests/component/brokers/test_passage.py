"""The test message of ``deedbox check``: seen through by a bridge, and counted nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from deedbox.shared.broker import address
from deedbox.shared.redis import keys
from deedbox.shared.settings import Settings
from deedbox.workers.process import Process
from tests.component.conftest import Operate
from tests.component.workers.rig import Deployment, Journal, action
from tests.component.workers.server import RedisServer
from tests.support.brokers import bridging, broker_at

pytestmark = pytest.mark.real_redis


def passage(operate: Operate, **environ: str) -> dict[str, Any]:
    checks = operate("check", "--offline", "--json", **environ).document["checks"]
    found: dict[str, Any] = next(check for check in checks if check["name"] == "broker passage")
    return found


def test_a_test_message_that_a_bridge_takes_is_counted_nowhere(
    operate: Operate, state: Redis, redis_server: RedisServer
) -> None:
    deployment = Deployment(state, action(journal := Journal()))
    with redis_server.client() as client, bridging(redis_server.url, client):
        assert passage(operate)["verdict"] == "ok"
    deployment.run()
    assert journal.calls == []
    assert deployment.left() == 0
    assert deployment.letters() == []
    assert dict(deployment.counters()) == {}
    assert broker_at(redis_server.url).look().depth == 0


def test_a_bridge_that_consumes_another_database_is_found_out(
    operate: Operate, state: Redis, redis_server: RedisServer
) -> None:
    """Web processes publish to one, bridges consume the other: every callback is acknowledged, and none is processed."""
    other = redis_server.url.removesuffix("/0") + "/7"
    with redis_server.client() as client, bridging(other, client):
        found = passage(operate)
    assert found["verdict"] == "failed"
    assert "DEEDBOX_BROKER_URL" in found["fix"]
    state.delete(keys.RAW_QUEUE)


def test_without_a_bridge_nothing_is_sent(operate: Operate, redis_server: RedisServer) -> None:
    found = passage(operate)
    assert (found["verdict"], found["fix"]) == ("warning", "start `deedbox bridge`")
    assert broker_at(redis_server.url).look().depth == 0


def test_a_broker_that_the_settings_named_before_is_remembered(
    operate: Operate, redis_server: RedisServer, tmp_path: Path
) -> None:
    old = redis_server.url.replace("redis://", "redis://:s3cret@").removesuffix("/0") + "/7"
    environ = {
        "DEEDBOX_REDIS_URL": redis_server.url,
        "DEEDBOX_API_KEYS": "key",
        "DEEDBOX_DATA_DIR": str(tmp_path),
    }
    Process(Settings.load(environ | {"DEEDBOX_BROKER_URL": old.replace(":s3cret@", "")})).bridge()
    checks = operate("check", "--offline", "--json").document["checks"]
    [found] = [check for check in checks if check["name"] == "broker before"]
    assert found["verdict"] == "warning"
    assert str(address.parse(old)) in found["detail"]
    assert "s3cret" not in found["detail"]
