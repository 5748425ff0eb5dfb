"""Parts of ``deedbox up``: what is checked first, what is shown, and when it is ready."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import fakeredis
import pytest
from flask import Flask

from deedbox.ops.supervise import up
from deedbox.ops.supervise.readiness import StartupCheck, callback_url
from deedbox.shared.broker import address as broker_address
from deedbox.shared.core.errors import DeedboxError, SettingsError
from deedbox.shared.redis.address import parse
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.loopback import LoopbackServer


@pytest.fixture
def ready_port() -> Iterator[int]:
    """Port of a web process that says it is ready."""
    app = Flask("web")
    app.get("/readyz")(lambda: "ready")
    server = LoopbackServer(app)
    server.start()
    yield int(server.url.rpartition(":")[2])
    server.stop()


LINK = "http://127.0.0.1:8001/sign-in?link=x"


def _settings(**more: str) -> Settings:
    return Settings.load({"DEEDBOX_API_KEYS": "a-secret-key", "DEEDBOX_DATA_DIR": "data", **more})


def test_port_0_becomes_a_free_port_that_the_processes_inherit() -> None:
    environ = {"DEEDBOX_API_KEYS": "k", "PORT": "0"}
    settings = up.checked(environ)
    assert settings.port > 0
    assert environ["PORT"] == str(settings.port)


def test_the_metrics_of_ingress_are_off_unless_they_have_a_port() -> None:
    without = "\n".join(up.announcement(_settings(), parse("redis://127.0.0.1:7000/0"), {}, LINK))
    assert without.count("/metrics\n") == 1
    environ = {"DEEDBOX_API_KEYS": "k", "PORT": "0", "OPS_PORT": "0", "DEEDBOX_METRICS_PORT": "0"}
    settings = up.checked(environ)
    text = "\n".join(up.announcement(settings, parse("redis://127.0.0.1:7000/0"), {}, LINK))
    assert f"http://127.0.0.1:{environ['DEEDBOX_METRICS_PORT']}/metrics" in text
    assert f"http://127.0.0.1:{environ['OPS_PORT']}/metrics" in text


def test_a_taken_port_of_the_metrics_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with pytest.raises(DeedboxError, match=f"DEEDBOX_METRICS_PORT {port} is taken"):
            up.checked({"DEEDBOX_API_KEYS": "k", "PORT": "0", "OPS_PORT": "0", "DEEDBOX_METRICS_PORT": port})


def test_a_taken_port_is_named_and_no_matter_of_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with pytest.raises(DeedboxError, match=f"PORT {port} is taken") as raised:
            up.checked({"DEEDBOX_API_KEYS": "k", "PORT": port})
    assert not isinstance(raised.value, SettingsError)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(DeedboxError, match="DEEDBOX_BIND"):
        up.checked({"DEEDBOX_API_KEYS": "k", "DEEDBOX_BIND": "192.0.2.1"})


def test_a_broker_that_is_no_url_is_named() -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_BROKER_URL"):
        up.checked({"DEEDBOX_API_KEYS": "k", "PORT": "0", "DEEDBOX_BROKER_URL": "rabbit"})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pass@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:p%40ss@[::1]:6380/1", "rediss://[::1]:6380/1"),
        ("sqs://key:secret@", "sqs://"),
        ("unix://:pass@/run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis+sentinel://u:pass@a,b:1/sign?sentinel_password=pass", "redis+sentinel://a:26379,b:1/sign/0"),
        ("amqp://u:pass@a//;amqp://u:pass@b/vh", "amqp://a:5672//, amqp://b:5672/vh"),
    ],
)
def test_no_url_is_shown_with_its_secrets(url: str, shown: str) -> None:
    assert str(broker_address.parse(url)) == shown


def test_the_announcement_tells_where_everything_is_and_no_secret() -> None:
    settings = _settings(
        DEEDBOX_SOURCES='{"acme": {"api_keys": ["other-secret"]}}',
        DEEDBOX_BROKER_URL="amqp://u:secret@a//;amqp://u:secret@b//",
    )
    text = "\n".join(up.announcement(settings, parse("redis://:secret@127.0.0.1:7000/0"), {"crm": 2}, LINK))
    assert "secret" not in text
    for part in (
        "http://127.0.0.1:8000/callbacks\n",
        "/callbacks/acme",
        "redis://127.0.0.1:7000/0, embedded",
        f"{LINK} (once, within 10 minutes;",
    ):
        assert part in text
    assert "amqp://a:5672//, amqp://b:5672//" in text
    assert "crm (2)" in text


EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound to it


@pytest.mark.parametrize(
    ("bind", "host"), [(EVERY_ADDRESS, "127.0.0.1"), ("::", "[::1]"), ("10.0.0.7", "10.0.0.7")]
)
def test_the_callback_url_is_one_that_this_machine_reaches(bind: str, host: str) -> None:
    assert callback_url(_settings(DEEDBOX_BIND=bind)) == f"http://{host}:8000/callbacks"


def test_ready_means_the_web_answers_and_every_worker_has_registered_since(ready_port: int) -> None:
    redis = fakeredis.FakeRedis()
    readiness = StartupCheck(_settings(PORT=str(ready_port)), redis, {"crm": 2}, since=1_800_000_000)

    def register(name: str, birth: str) -> None:
        redis.sadd("rq:workers:deedbox.crm", f"rq:worker:{name}")
        redis.hset(f"rq:worker:{name}", "birth", birth)

    register("of-a-killed-run", "2020-01-01T00:00:00.000000Z")
    register("one", "2027-01-15T08:00:00.000000Z")
    assert readiness.missing() == ["worker-crm"]
    register("two", "2027-01-15T08:00:01.000000Z")
    assert readiness.missing() == []


def test_without_a_web_process_it_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
    readiness = StartupCheck(_settings(PORT=port), fakeredis.FakeRedis(), {}, since=0)
    assert readiness.missing() == ["web"]


def test_without_redis_it_is_not_ready(ready_port: int) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    redis = fakeredis.FakeRedis(server=server)
    assert StartupCheck(_settings(PORT=str(ready_port)), redis, {"crm": 1}, since=0).missing() == ["redis"]
