"""``deedbox check``: what is wrong is found, named, and comes with a fix."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from deedbox.ops.checks import clocks, environment, redis_server
from deedbox.ops.checks.finding import Verdict
from deedbox.shared.records.presence import Presence, dump
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from deedbox.shared.redis.scripting import SERVER_CLOCK, Scripts
from deedbox.shared.runtime.data_dir import lock_data_dir
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.lifecycle import Account
from tests.component.conftest import Answer, Operate
from tests.component.workers.rig import declare
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis

KEY = "k" * 64


@pytest.fixture
def configured(state: Redis) -> Iterator[Redis]:
    """Lend a server whose configuration may be changed."""
    yield state
    state.config_set("appendfsync", "always")
    state.config_set("appendonly", "yes")
    state.config_set("maxmemory-policy", "noeviction")


@pytest.fixture
def api() -> Iterator[FilesApi]:
    """Run the simulated API."""
    server = FilesApi(Account(KEY), FilesApiPolicy(), callback_url="https://sign.example.com/callbacks")
    server.start()
    yield server
    server.stop()


def _verdicts(answer: Answer) -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in answer.document["checks"]}


def _said(answer: Answer, name: str) -> str:
    return " ".join(
        f"{row['detail']} {row['fix']}" for row in answer.document["checks"] if row["name"] == name
    )


def test_a_sound_installation_passes(operate: Operate) -> None:
    answer = operate("check", "--offline", "--json")

    assert answer.code == 0
    assert answer.document["ok"] is True
    verdicts = _verdicts(answer)
    verdicts.pop("redis release", None)  # of this machine, if it is that old
    assert verdicts.pop("workers") == verdicts.pop("broker passage") == "warning"
    assert set(verdicts.values()) == {"ok"}


@pytest.mark.parametrize(
    ("info", "warned"),
    [
        ({"redis_version": "6.2.14"}, True),
        ({"redis_version": "7.0.15"}, False),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, False),
    ],
)
def test_a_server_of_a_line_without_security_fixes_is_a_warning(
    info: dict[str, str], *, warned: bool
) -> None:
    found = {each.name: each for each in redis_server._version("redis", info)}
    assert found["redis"].verdict is Verdict.OK
    assert ("redis release" in found) is warned
    assert not warned or "install Redis 7 or later, or Valkey" in found["redis release"].fix


def test_a_missing_password_of_redis_is_named_as_such(operate: Operate, configured: Redis) -> None:
    """Law: a refusal says what to correct, in our words: redis-py's own text is about the command HELLO."""
    configured.config_set("requirepass", "secret")
    try:
        status = operate("status")
        check = operate("check", "--offline", "--json")
    finally:
        configured.config_set("requirepass", "")
    assert "does not accept the user or password" in status.sentence
    assert _said(check, "redis") == (
        "Redis does not accept the user or password correct user and password in DEEDBOX_REDIS_URL"
    )
    assert "user and password in DEEDBOX_REDIS_URL" in _said(check, "broker")
    assert "HELLO" not in status.sentence


def test_unusable_settings_end_with_exit_code_2(operate: Operate) -> None:
    assert operate("check", "--offline", DEEDBOX_HOLD_S="soon").code == 2
    answer = operate("check", "--offline", "--json", DEEDBOX_API_KEYS="")
    assert answer.code == 2
    assert _verdicts(answer)["api keys"] == "failed"


def test_the_modules_of_the_actions_are_imported_as_the_workers_do(operate: Operate, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from deedbox import action\n@action('*', lane='crm')\ndef one(event, context): ...\n", "utf-8"
    )
    path = {"PYTHONPATH": str(tmp_path)}
    answer = operate("check", "--offline", "--json", DEEDBOX_ACTIONS="mine", **path)
    assert _verdicts(answer)["actions"] == "ok"
    assert "crm" in _said(answer, "actions")

    answer = operate("check", "--offline", "--json", DEEDBOX_ACTIONS="nothere.callbacks", **path)
    assert answer.code == 2
    assert _verdicts(answer)["actions"] == "failed"
    assert "nothere.callbacks" in _said(answer, "actions")


@pytest.mark.parametrize(
    ("ahead_s", "verdict"),
    [(0.0, "ok"), (1.9, "ok"), (2.1, "warning"), (-2.1, "warning"), (31.0, "failed"), (-3600.0, "failed")],
)
def test_a_clock_that_is_not_redis_s_is_found(ahead_s: float, verdict: str) -> None:
    found = clocks.finding(ahead_s)
    assert found.verdict == verdict
    assert bool(found.fix) is (verdict != "ok")


def test_this_hosts_clock_is_compared_with_redis_s(state: Redis) -> None:
    (found,) = clocks.check(state, lambda: time.time() - 100)
    assert found.verdict == "failed"
    assert "behind Redis's" in found.detail


def test_no_advice_names_a_lane_that_no_action_uses(operate: Operate, state: Redis) -> None:
    """Law: `check` never advises a command that refuses."""
    declare(state, track_status="default")
    Scripts(state).call("present", SERVER_CLOCK, "worker-1", 600.0, dump(Presence("dbg")))
    answer = operate("check", "--offline", "--json")
    assert "no action uses the lane dbg" in _said(answer, "workers")
    assert "--lane dbg" not in answer.out


def test_calls_of_an_action_that_no_module_declares_fail(operate: Operate, state: Redis) -> None:
    declare(state, track_status="default")
    state.hset(keys.DEPTHS, "inp", 1)
    state.zadd(keys.action("inp", "ready"), {"inp|default:signature_request/r1": 1.0})
    answer = operate("check", "--offline", "--json")
    assert "1 call waits for the action inp" in _said(answer, "workers")


def test_a_full_disk_is_no_matter_of_access(operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer is made up here; `check` must tell the two reasons apart."""

    def full(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(environment, "_write_through", full)
    answer = operate("check", "--offline", "--json")
    assert "make room on that disk" in _said(answer, "document store")
    assert "write access" not in _said(answer, "document store")


def test_beside_an_up_whose_redis_ends_again_and_again_the_log_is_named(
    operate: Operate, tmp_path: Path
) -> None:
    with lock_data_dir(tmp_path):
        answer = operate("check", "--offline", "--json", DEEDBOX_REDIS_URL="", DEEDBOX_DATA_DIR=str(tmp_path))
    assert str(tmp_path / "redis" / "redis.log") in _said(answer, "redis")
    assert "Nothing is running" not in answer.out


def test_a_misspelt_variable_is_named_with_the_right_one(operate: Operate) -> None:
    answer = operate("check", "--offline", "--json", DEEDBOX_HOLDS="5", DEEDBOX_RECORD_PATH="/tmp/x")  # noqa: S108

    assert answer.code == 0
    assert "DEEDBOX_HOLDS" in _said(answer, "variables")
    assert "DEEDBOX_HOLD_S?" in _said(answer, "variables")
    assert "RECORD_PATH" not in _said(answer, "variables")


@pytest.mark.parametrize(
    ("setting", "value", "name", "verdict"),
    [
        ("appendfsync", "everysec", "redis durability", "warning"),
        ("appendfsync", "no", "redis durability", "failed"),
        ("appendonly", "no", "redis durability", "failed"),
        ("maxmemory-policy", "allkeys-lru", "redis eviction", "failed"),
    ],
)
def test_a_redis_that_may_lose_callbacks_is_found(
    operate: Operate, configured: Redis, setting: str, value: str, name: str, verdict: str
) -> None:
    configured.config_set(setting, value)

    answer = operate("check", "--offline", "--json")

    assert _verdicts(answer)[name] == verdict
    assert answer.code == (1 if verdict == "failed" else 0)
    assert f"set {setting}" in _said(answer, name) or setting == "appendonly"


def test_a_managed_redis_without_config_is_judged_by_what_it_shows(
    operate: Operate, state: Redis, redis_server: RedisServer
) -> None:
    state.acl_setuser(
        "managed", enabled=True, passwords=["+s3cret"], keys=["*"], commands=["+@all", "-config"]
    )
    url = redis_server.url.replace("redis://", "redis://managed:s3cret@")

    answer = operate("check", "--offline", "--json", DEEDBOX_REDIS_URL=url)

    verdicts = _verdicts(answer)
    assert (verdicts["redis durability"], verdicts["redis eviction"]) == ("warning", "ok")
    assert "s3cret" not in answer.out


def test_queues_that_read_deedboxs_events_are_no_other_application(operate: Operate, state: Redis) -> None:
    """As kombu stores them on Redis: the binding names the queue, which is a list in the same database."""
    state.sadd("_kombu.binding.deedbox.events", "#\x06\x16\x06\x16example-consumer")
    state.lpush("example-consumer", "{}")
    assert _verdicts(operate("check", "--offline", "--json"))["redis neighbours"] == "ok"


def test_another_applications_keys_are_told_by_their_beginning_only(operate: Operate, state: Redis) -> None:
    state.set("session:jane.doe", "x")
    state.set("rq:queue:mail", "x")

    answer = operate("check", "--offline", "--json")

    assert _verdicts(answer)["redis neighbours"] == "warning"
    assert "session… (1)" in _said(answer, "redis neighbours")
    assert "jane" not in answer.out


def test_a_redis_and_a_broker_that_are_down_fail_without_their_passwords(operate: Operate) -> None:
    down = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
    answer = operate("check", "--offline", "--json", DEEDBOX_REDIS_URL=down)
    assert (answer.code, _verdicts(answer)["redis"], _verdicts(answer)["broker"]) == (1, "failed", "failed")
    assert "s3cret" not in answer.out

    broker = f"amqp://guest:s3cret@127.0.0.1:{free_port()}//"
    answer = operate("check", "--offline", "--json", DEEDBOX_BROKER_URL=broker)
    assert (answer.code, _verdicts(answer)["redis"], _verdicts(answer)["broker"]) == (1, "ok", "failed")
    assert "s3cret" not in answer.out


def test_a_wrong_password_names_the_setting(
    operate: Operate, state: Redis, redis_server: RedisServer
) -> None:
    state.acl_setuser("locked", enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"])
    url = redis_server.url.replace("redis://", "redis://locked:wrong-one@")

    answer = operate("check", "--offline", "--json", DEEDBOX_REDIS_URL=url)

    assert "correct user and password in DEEDBOX_REDIS_URL" in _said(answer, "redis")
    assert "wrong-one" not in answer.out


def test_nothing_running_here_is_a_failure_with_a_fix(operate: Operate) -> None:
    answer = operate("check", "--offline", "--json", DEEDBOX_REDIS_URL="")

    assert answer.code == 1
    assert "start `deedbox up`" in _said(answer, "redis")


def test_a_store_below_a_file_fails(operate: Operate, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")

    answer = operate(
        "check", "--offline", "--json", DEEDBOX_DOCUMENTS_URL=f"file://{tmp_path}/file/documents"
    )

    assert (answer.code, _verdicts(answer)["document store"]) == (1, "failed")


def test_checking_leaves_no_file_behind(operate: Operate, tmp_path: Path) -> None:
    operate("check", "--offline")
    assert list(tmp_path.iterdir()) == []


def test_a_lane_with_work_and_nobody_to_do_it_fails(operate: Operate, state: Redis) -> None:
    declare(state, crm="crm")
    state.hset(keys.DEPTHS, "crm", 3)

    answer = operate("check", "--offline", "--json")

    assert answer.code == 1
    assert "start `deedbox worker --lane crm`" in _said(answer, "workers")


def test_the_account_is_asked_through_the_api(operate: Operate, api: FilesApi) -> None:
    def account() -> tuple[int, str, str]:
        answer = operate("check", "--json", DEEDBOX_API_URL=api.url)
        return answer.code, _verdicts(answer)["account default"], _said(answer, "account default")

    code, verdict, said = account()
    assert (code, verdict) == (0, "ok")
    assert "https://sign.example.com/callbacks" in said

    api.callback_url = None
    code, verdict, said = account()
    assert (code, verdict) == (0, "warning")
    assert "set it to https://<your host>/callbacks" in said


def test_a_key_that_the_api_refuses_fails(operate: Operate, api: FilesApi) -> None:
    answer = operate("check", "--json", DEEDBOX_API_URL=api.url, DEEDBOX_API_KEYS="w" * 64)

    assert answer.code == 1
    assert "refuses the key (401)" in _said(answer, "account default")
    assert "w" * 64 not in answer.out


def test_an_api_that_is_down_fails_without_the_key(operate: Operate) -> None:
    answer = operate("check", "--json", DEEDBOX_API_URL=f"http://127.0.0.1:{free_port()}/v3")

    assert (answer.code, _verdicts(answer)["account default"]) == (1, "failed")
    assert "--offline" in _said(answer, "account default")
    assert KEY not in answer.out


def test_a_callback_url_that_is_not_the_expected_one_fails_with_the_command_that_puts_it_back(
    operate: Operate, api: FilesApi
) -> None:
    expected = "https://sign.example.com/callbacks"
    api.apps["app1"] = expected
    env = {
        "DEEDBOX_API_URL": api.url,
        "DEEDBOX_CALLBACK_URL": expected,
        "DEEDBOX_SOURCES": '{"default": {"client_ids": ["app1", "app2"]}}',
    }
    answer = operate("check", "--json", **env)
    assert [_verdicts(answer)[name] for name in ("account default", "app app1", "app app2")] == [
        "ok",
        "ok",
        "failed",
    ]
    api.callback_url, api.apps["app1"] = None, "https://other.example.com/callbacks"
    answer = operate("check", "--json", **env)
    assert answer.code == 1
    for name in ("account default", "app app1"):
        assert _verdicts(answer)[name] == "failed"
        assert "`deedbox callback-url set`" in _said(answer, name)


def test_where_only_apps_call_back_the_account_needs_no_url(operate: Operate, api: FilesApi) -> None:
    api.callback_url, api.apps["app1"] = None, "https://sign.example.com/callbacks"
    sources = '{"default": {"client_ids": ["app1"], "watch_account": false}}'
    answer = operate("check", "--json", DEEDBOX_API_URL=api.url, DEEDBOX_SOURCES=sources)
    assert _verdicts(answer)["account default"] == _verdicts(answer)["app app1"] == "ok"


@pytest.mark.parametrize(
    ("env", "verdict", "said"),
    [
        ({}, "ok", "no receiver is set"),
        ({"DEEDBOX_ALERT_URLS": "jsons://u:s3cret@h.example"}, "ok", "1: JSON, jsons://h.example"),
        ({"DEEDBOX_ALERT_URLS": "json://u:s3cret@h.example"}, "failed", "without TLS"),
        ({"DEEDBOX_ALERT_URLS": "s3cret://h.example"}, "failed", "URL 1 of 1"),
        (
            {"DEEDBOX_ALERT_URLS": "jsons://h.example", "DEEDBOX_BUILTINS": "track_status"},
            "warning",
            "leaves out alert",
        ),
    ],
)
def test_receivers_of_alerts_are_named_without_their_secrets(
    operate: Operate, env: dict[str, str], verdict: str, said: str
) -> None:
    answer = operate("check", "--offline", "--json", **env)
    assert _verdicts(answer)["alerts"] == verdict
    assert said in _said(answer, "alerts")
    assert "s3cret" not in answer.out


def test_a_broker_of_events_that_is_away_is_named(operate: Operate) -> None:
    url = f"amqp://me:hush@127.0.0.1:{free_port()}"

    answer = operate("check", "--offline", "--json", DEEDBOX_EVENTS_URL=url)

    assert _verdicts(answer)["events broker"] == "failed"
    assert "DEEDBOX_EVENTS_URL" in _said(answer, "events broker")
    assert "hush" not in json.dumps(answer.document)
