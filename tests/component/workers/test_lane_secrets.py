"""The process of every lane works with the secrets that ``up`` hands it, and with no API key if it asks no API."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from deedbox.ops.supervise import secrets
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis.keys import RESERVED_LANES
from deedbox.shared.settings import Settings
from deedbox.workers.process import Process
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

LANES = (*sorted(RESERVED_LANES), "default", "crm")


@pytest.fixture
def environ(redis_server: RedisServer, state: Redis) -> dict[str, str]:
    assert state.ping()
    hook = {"url": "https://h/", "secret": "whsec_b3V0LXdvcmQtb3V0LXdvcmQtb3V0LXdvcmQh"}
    return {
        "DEEDBOX_API_KEYS": "key", "DEEDBOX_REDIS_URL": redis_server.url, "DEEDBOX_BROKER_URL": redis_server.url,
        "DEEDBOX_SOURCES": json.dumps({"acme": {"api_keys": ["k"], "callback_url": "https://h/callbacks/acme"}}),
        "DEEDBOX_ALERT_URLS": "jsons://h", "DEEDBOX_BUILTINS": "all,publish_event",
        "DEEDBOX_DESTINATIONS": json.dumps({"crm": hook, "erp": {**hook, "lane": "crm"}}),
    }  # fmt: skip


def _process(lane: str, environ: dict[str, str]) -> Process:
    handed = secrets.environment(environ, f"worker-{lane}", Settings.load(environ))
    return Process(Settings.load(handed), lane=lane)


@pytest.mark.parametrize("lane", LANES)
def test_a_lane_has_what_it_needs_and_knows_all_actions_as_the_others_do(
    lane: str, environ: dict[str, str]
) -> None:
    registry = _process(lane, environ).registry
    assert lane in registry.lanes
    assert registry.describe() == Process(Settings.load(environ)).registry.describe()


@pytest.mark.parametrize("lane", sorted(RESERVED_LANES))
def test_a_lane_of_deedboxs_own_actions_has_api_keys_exactly_if_these_ask_the_api(
    lane: str, environ: dict[str, str]
) -> None:
    without = {name: value for name, value in environ.items() if name != "DEEDBOX_API_KEYS"}
    without["DEEDBOX_SOURCES"] = '{"acme": {"account": "a", "callback_url": "https://h/callbacks/acme"}}'
    has_keys = "DEEDBOX_API_KEYS" in secrets.NEEDED[secrets.process_type(f"worker-{lane}")]
    process = Process(Settings.load(without), lane=lane)
    if has_keys:
        with pytest.raises(SettingsError, match="DEEDBOX_API_KEYS is not set"):
            _ = process.registry
    else:
        assert process.registry.lanes
