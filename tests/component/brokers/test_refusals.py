"""What no process can serve is refused by every process, in one sentence: nothing is acknowledged into nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis.embedded import free_port
from tests.component.conftest import Operate
from tests.component.ingress.conftest import envelope, listens, stop, wait_until
from tests.component.workers.server import RedisServer, server_binary
from tests.support.brokers import broker_at

__all__ = ["envelope"]

pytestmark = pytest.mark.real_redis

ROOT = Path(__file__).parents[3]
PROCESSES = {
    "web": ("deedbox.ingress",),
    "drain": ("deedbox.ingress", "drain"),
    "bridge": ("deedbox.workers", "bridge"),
    "worker": ("deedbox.workers", "worker", "--lane", "sequencer"),
    "sweeper": ("deedbox.workers", "sweeper"),
}


BUS_PORT_FROM = 65_536 - 10_000


def ended(words: tuple[str, ...], folder: Path, **settings: str) -> tuple[int, str]:
    """Run one process type until it ends. Returns its exit code and what it wrote."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DEEDBOX_")}
    environ |= {
        "DEEDBOX_API_KEYS": "key",
        "DEEDBOX_DATA_DIR": str(folder),
        "PORT": str(free_port()),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one node of a Redis Cluster that has all slots, as serverless services do."""
    # The nodes talk to each other on a port that is 10,000 higher.
    port = next(port for port in iter(free_port, None) if port < BUS_PORT_FROM)
    process = subprocess.Popen(
        [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", "",
         "--appendonly", "yes"],
        cwd=tmp_path_factory.mktemp("cluster"), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: listens(port))
        with Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: "ok" in str(client.cluster("INFO")))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop(process)


@pytest.mark.parametrize("words", PROCESSES.values(), ids=PROCESSES)
def test_a_redis_in_cluster_mode_is_refused_by_every_process(
    words: tuple[str, ...], cluster: str, tmp_path: Path
) -> None:
    code, said = ended(words, tmp_path, DEEDBOX_REDIS_URL=cluster)
    if words[-1] == "drain":  # nothing to drain, and nothing was given to it
        return
    assert code == 2
    assert "cluster mode" in said
    assert "Traceback" not in said


def test_what_turns_out_to_be_a_cluster_later_is_given_nothing(cluster: str, envelope: Envelope) -> None:
    """Ingress starts while its broker is away; the callback goes to the spool."""
    broker = broker_at(cluster)
    attempts: list[Callable[[], None]] = [
        lambda: broker.publish(envelope), lambda: broker.publish_many([envelope]), broker.ping,
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(Unavailable, match="cluster mode"):
            attempt()
    assert broker.look().depth == 0


def test_check_fails_for_a_redis_in_cluster_mode(cluster: str, operate: Operate) -> None:
    checks = operate("check", "--offline", "--json", DEEDBOX_REDIS_URL=cluster).document["checks"]
    found = {check["name"]: check for check in checks}
    assert found["redis"]["verdict"] == found["broker"]["verdict"] == "failed"
    assert "cluster mode" in found["redis"]["detail"]


WRONG = {
    "a list of Redis": ("DEEDBOX_BROKER_URL", "redis://a:s3cret@h/1;redis://b:s3cret@h/2", "Sentinel"),
    "a parameter of redis-py alone": (
        "DEEDBOX_BROKER_URL",
        "redis://:s3cret@h/0?client_name=x",
        "client_name",
    ),
    "a parameter of kombu alone": ("DEEDBOX_BROKER_URL", "amqp://u:s3cret@h//?heartbeat=3", "heartbeat"),
    "a database that is none": ("DEEDBOX_REDIS_URL", "redis://:s3cret@h/first", "database"),
}


@pytest.mark.parametrize("words", [PROCESSES["web"], PROCESSES["bridge"]], ids=["web", "bridge"])
@pytest.mark.parametrize(("setting", "url", "why"), WRONG.values(), ids=WRONG)
def test_an_address_that_libraries_would_read_differently_is_refused_at_start(
    words: tuple[str, ...], setting: str, url: str, why: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    code, said = ended(words, tmp_path, **({"DEEDBOX_REDIS_URL": redis_server.url} | {setting: url}))
    assert code == 2
    assert said.startswith(f"deedbox: {setting}")
    assert why in said
    assert said.count("\n") == 1
    assert "s3cret" not in said


@pytest.mark.parametrize(("setting", "url", "why"), WRONG.values(), ids=WRONG)
def test_check_says_the_same_and_ends_in_no_traceback(
    setting: str, url: str, why: str, operate: Operate
) -> None:
    answer = operate("check", "--offline", "--json", **{setting: url})
    failed = [check for check in answer.document["checks"] if check["verdict"] == "failed"]
    assert answer.code == 2
    assert any(setting in check["detail"] and why in check["detail"] for check in failed)
    assert "s3cret" not in answer.out
